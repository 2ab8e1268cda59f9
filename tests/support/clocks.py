"""A clock that tests move, by steps of the wall clock or by passing time."""

import time

from service.clock import Clock
from tests.support.app_harness import AppHarness

ROUND_SECONDS = 5.0


class MovableClock:
    """A wall clock that runs and can step, and a monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.step_seconds = 0.0
        self.passed_seconds = 0.0
        self.clock = Clock(self._wall, self._monotonic)

    def _wall(self) -> float:
        return time.time() + self.step_seconds + self.passed_seconds

    def _monotonic(self) -> float:
        return self.passed_seconds

    async def pass_time(self, app: AppHarness, seconds: float) -> None:
        """Let time pass, with the usual rounds of the rescuer."""
        await app.state["rescuer"].rescue_once()
        left = seconds
        while left > 0:
            self.passed_seconds += min(left, ROUND_SECONDS)
            left -= ROUND_SECONDS
            await app.state["rescuer"].rescue_once()
