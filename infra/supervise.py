"""Keep named loops running: one that ends is logged, reported as down, and started again after a pause."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

logger = logging.getLogger("framehook.supervise")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0


class Supervisor:
    """The loops of one process, by name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._down: dict[str, str] = {}
        self._started_at: dict[str, float] = {}
        self._failing_since: dict[str, float] = {}
        self.restarts: Counter[str] = Counter()
        """How often each loop was started again."""

    @property
    def down(self) -> dict[str, str]:
        """The loops that are not running, and the class of the error that ended each."""
        return dict(self._down)

    def failing_seconds(self) -> dict[str, float]:
        """Return for how long each loop keeps failing; a loop that has run steadily since is left out."""
        now = self._clock()
        return {
            name: now - since
            for name, since in self._failing_since.items()
            if name in self._down or not self._is_steady(name, now)
        }

    async def keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop` until cancelled; start it again when it ends or raises."""
        pause = 0.0
        while True:
            self._started_at[name] = self._clock()
            self.restarts[name] += name in self._down
            cause: Exception | None = None
            try:
                self._down.pop(name, None)
                await loop()
                reason = "ended"
            except Exception as error:
                reason, cause = type(error).__name__, error
                logger.exception("the %s loop failed", name)
            steady = self._record_end(name, reason)
            pause = FIRST_PAUSE_SECONDS if steady or not pause else min(pause * 2, LONGEST_PAUSE_SECONDS)
            logger.warning(
                "starting the %s loop again in %.1f s",
                name,
                pause,
                extra={"cause": cause, "event": "loop.restarted"},
            )
            cause = None  # its traceback refers to the objects of the loop
            await asyncio.sleep(pause)

    def _record_end(self, name: str, reason: str) -> bool:
        """Record that a loop is down and since when it fails; tell whether it had run steadily."""
        now = self._clock()
        steady = self._is_steady(name, now)
        if steady or name not in self._failing_since:
            self._failing_since[name] = now
        self._down[name] = reason
        return steady

    def _is_steady(self, name: str, now: float) -> bool:
        return now - self._started_at[name] > STEADY_SECONDS
