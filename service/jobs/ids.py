"""Ids that sort by time, so that lists need no other order."""

import re
import secrets

EXPORT_ID_PATTERN = r"^[A-Za-z0-9_-]{8,64}$"
"""An id that a client chooses for an export."""

_JOB_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_EXPORT_ID = re.compile(EXPORT_ID_PATTERN)
_MISTYPED_JOB_ID = re.compile(r"\w{8}-\w{4}-7\w{3}-[89ab]\w{3}-\w{12}", re.ASCII)


def new_id(now: float) -> str:
    """Return a UUIDv7 (RFC 9562) for a time in seconds since the epoch."""
    value = (
        (int(now * 1000) << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    )
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def first_id(at: float) -> str:
    """Return the lowest string that an id of this time or later can be, in seconds since the epoch."""
    digits = f"{int(at * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def is_job_id(value: str) -> bool:
    """Tell whether a string has the form of the ids that `new_id` makes."""
    return _JOB_ID.fullmatch(value) is not None


def is_awaitable_id(value: str) -> bool:
    """Tell whether a client may still create an export under this id.

    An id of the service with a typing error could be chosen, too, but is more likely a mistake.
    """
    return _EXPORT_ID.fullmatch(value) is not None and _MISTYPED_JOB_ID.fullmatch(value) is None
