"""Make values fit the contract, so that a NUL or a NaN does not prevent a report. Pure."""

import math
from typing import Final

from msgspec.structs import replace

from callbacks.envelope import MAX_SECONDS, MAX_TEXT_CHARACTERS, Failure

MAX_UNFINISHED_PROGRESS: Final = 99.9


def sanitize_text(text: str) -> str:
    """Return `text` without NUL and lone surrogates, cut to MAX_TEXT_CHARACTERS."""
    encodable = text[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode()
    return encodable.replace("\0", "\N{REPLACEMENT CHARACTER}")


def sanitize_progress(progress: float, floor: float) -> float:
    """Limit a progress in percent: at least `floor`, and below 100, which only a completed export reaches."""
    value = float(progress)  # numpy's scalars too
    if math.isnan(value):
        return floor
    return max(floor, min(value, MAX_UNFINISHED_PROGRESS))


def sanitize_seconds(seconds: float | None) -> float | None:
    """Return a duration in seconds; None if it is missing, not a number, negative or over MAX_SECONDS."""
    if seconds is None:
        return None
    value = float(seconds)
    return value if 0 <= value <= MAX_SECONDS else None


def sanitize_failure(failure: Failure) -> Failure:
    """Return the failure with a sanitized message."""
    return replace(failure, message=sanitize_text(failure.message))
