"""When to retry a request: exponential backoff and the Retry-After header. Pure."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

Random = Callable[[], float]
"""Uniform over [0, 1), as `random.random`."""

_MAX_DOUBLINGS: Final = 32
_MAX_HEADER: Final = 64


def backoff_seconds(
    attempt: int, random: Random, *, base_seconds: float = 0.5, cap_seconds: float = 30.0
) -> float:
    """Return the delay after the `attempt`-th failure in a row, from 1: exponential, with full jitter."""
    if attempt < 1:
        raise ValueError("attempts count from 1")
    ceiling = base_seconds * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS)
    return random() * min(ceiling, cap_seconds)


def parse_retry_after(header: str | None, *, now: float, max_seconds: float) -> float | None:
    """Return the delay of a Retry-After header in seconds, between 0 and `max_seconds`; None if it is invalid.

    Both forms of RFC 9110 are read: seconds, or an HTTP date, which is compared with `now` (seconds since 1970).
    """
    if header is None or not header.isascii() or len(header) > _MAX_HEADER:
        return None
    if (digits := header.strip(" \t")).isdigit():
        return min(float(digits), max_seconds)
    try:
        moment = parsedate_to_datetime(header)
        if moment.tzinfo is None:  # the asctime form has no zone; HTTP dates are in UTC
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, min(moment.timestamp() - now, max_seconds))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
