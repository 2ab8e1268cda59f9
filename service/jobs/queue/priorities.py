"""The order in which a user's exports start: by the time of their submission, which a priority shifts.

A priority is a head start of a limited time, so an export of low priority waits for later ones only that long, and none
waits for ever.
"""

from enum import StrEnum
from typing import Final


class Priority(StrEnum):
    """`high` starts as if it had been submitted earlier, `low` as if later."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def sign(self) -> int:
        """1 for a head start, -1 for its opposite, 0 for neither."""
        return _SIGNS[self]


_SIGNS: Final = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}


def compute_queue_time(priority: Priority, waiting_since: float, head_start_seconds: float) -> float:
    """Return the column `queue_time`, in seconds since the epoch: the lowest of a user is the next to start."""
    return waiting_since - priority.sign * head_start_seconds
