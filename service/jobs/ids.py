"""Ids that sort by time, so that lists need no other order."""

import secrets


def new_id(now: float) -> str:
    """Return a UUIDv7 (RFC 9562) for a time in seconds since the epoch."""
    value = (
        (int(now * 1000) << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    )
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
