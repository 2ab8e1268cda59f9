"""The wall clock, for rows and users, and the monotonic clock, for durations."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400.0
SLACK_SECONDS: Final = 5.0
"""The clocks of replicas differ by less than this."""
CHECK_SECONDS: Final = 3_600.0
COMMIT_SECONDS: Final = 30.0
"""Within this time a transaction commits what it has read from the clock."""


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

    That is at the start, when the clock was set back, once more when all has committed that was read from it before,
    and hourly for what other replicas wrote.
    """

    latest: float = math.inf
    next_at: float = math.inf

    def is_due(self, now: float) -> bool:
        """Tell whether the clock was set back since `record`, or the next check is due."""
        return now < self.latest or now >= self.next_at

    def record(self, now: float, *, checked: bool) -> None:
        """Note the time, and whether everything was checked."""
        if checked:
            self.next_at = now + (COMMIT_SECONDS if now < self.latest else CHECK_SECONDS)
        self.latest = now
