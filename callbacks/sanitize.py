"""Makes what a run says fit the contract: a stray NUL or NaN must not cost it a report. Pure."""

import math
from typing import Final

from msgspec.structs import replace

from callbacks.envelope import MAX_SECONDS, MAX_TEXT_CHARACTERS, Failure

MAX_UNFINISHED_PROGRESS: Final = 99.9


def sanitize_text(text: str) -> str:
    """`text` without NUL or lone surrogates, cut to the longest that a callback carries."""
    encodable = text[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode()
    return encodable.replace("\0", "\N{REPLACEMENT CHARACTER}")


def sanitize_progress(progress: float, floor: float) -> float:
    """Percent, never below `floor`, and below 100, which only a completed export reaches."""
    value = float(progress)  # numpy's scalars too
    if math.isnan(value):
        return floor
    return max(floor, min(value, MAX_UNFINISHED_PROGRESS))


def sanitize_seconds(seconds: float | None) -> float | None:
    """A duration, or None when it is none, or longer than anything takes."""
    if seconds is None:
        return None
    value = float(seconds)
    return value if 0 <= value <= MAX_SECONDS else None


def sanitize_failure(failure: Failure) -> Failure:
    """The failure with a message that can be sent."""
    return replace(failure, message=sanitize_text(failure.message))
