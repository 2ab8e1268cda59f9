"""Check whether the runner can start attempts, and cache the result: health checks come often."""

import asyncio
import time
from collections.abc import Callable

from service.dispatch.runners.base import Runner, RunnerRefused

CACHE_SECONDS = 5.0


class RunnerReadiness:
    """Checks the runner at most once every CACHE_SECONDS."""

    def __init__(self, runner: Runner, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner = runner
        self._clock = clock
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._problem: RunnerRefused | None = None

    async def problem(self) -> RunnerRefused | None:
        """Return why attempts can't be started now; None if they can."""
        async with self._lock:
            if self._clock() >= self._checked_at + CACHE_SECONDS:
                self._problem = await self._check_runner()
                self._checked_at = self._clock()
            return self._problem

    async def _check_runner(self) -> RunnerRefused | None:
        try:
            await self._runner.check()
        except RunnerRefused as refused:
            return refused
        return None
