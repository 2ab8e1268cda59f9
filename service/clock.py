"""The wall clock, for rows and users, and the monotonic clock, for durations."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SLACK_SECONDS: Final = 5.0
"""The clocks of replicas differ by less than this."""
CHECK_SECONDS: Final = 3_600.0


@dataclass(frozen=True)
class Clock:
    """Both clocks, in seconds; tests replace them.

    `wall` counts from 1970 and may step forward or back at any moment; `monotonic` never goes back.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass
class ClockCheck:
    """Decide when to look for times in the future.

    That is at the start, after the clock was set back, and hourly for what other replicas wrote.
    """

    latest: float = math.inf
    checked_at: float = math.inf

    def is_due(self, now: float) -> bool:
        """Tell whether the clock was set back since `record`, or the last check is an hour ago."""
        return now < self.latest or now - self.checked_at >= CHECK_SECONDS

    def record(self, now: float, *, checked: bool) -> None:
        """Note the time, and whether everything was checked."""
        self.latest = now
        self.checked_at = now if checked else self.checked_at
