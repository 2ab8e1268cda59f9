"""The wall clock, for rows and users, and the monotonic clock, for durations."""

import logging
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
STEP_SECONDS: Final = 600.0
"""A clock that gets ahead by less at a time was corrected, not set."""
HOLD_SECONDS: Final = 3_600.0

logger = logging.getLogger("framehook.clock")


@dataclass(frozen=True)
class Clock:
    """Both clocks, in seconds; tests replace them.

    `wall` counts from 1970 and may step forward or back at any moment; `monotonic` never goes back.
    """

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class DeletionClock:
    """The wall clock by which files and rows are deleted: it follows a step forward only after an hour.

    A clock that is set days ahead by mistake, and back again, thus deletes nothing that was to be kept. A step back is
    followed at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.wall() - clock.monotonic()
        self._stepped_at: float | None = None

    def read(self) -> float:
        """Return the time, in seconds since 1970."""
        passed = self._clock.monotonic()
        offset = self._clock.wall() - passed
        ahead = offset - self._offset
        if ahead <= STEP_SECONDS:
            self._stepped_at = None
        elif self._stepped_at is None:
            self._stepped_at = passed
            logger.warning(
                "the clock was set %.0f s ahead; what is due by it is deleted in an hour, unless it is set back",
                ahead,
            )
        if self._stepped_at is None or passed - self._stepped_at >= HOLD_SECONDS:
            self._offset, self._stepped_at = offset, None
        return passed + self._offset


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
