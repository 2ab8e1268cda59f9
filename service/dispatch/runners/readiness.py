"""Whether attempts could be started now, as it was a moment ago: probes come often, and asking takes a while."""

import asyncio
import time
from collections.abc import Callable

from service.dispatch.runners.base import Runner, RunnerRefused

FRESH_SECONDS = 5.0


class RunnerReadiness:
    """Asks the runner at most every few seconds, however many want to know."""

    def __init__(self, runner: Runner, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._runner = runner
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._problem: RunnerRefused | None = None

    async def problem(self) -> RunnerRefused | None:
        """What keeps attempts from being started, if anything."""
        async with self._asking:
            if self._clock() >= self._asked_at + FRESH_SECONDS:
                self._problem = await self._found()
                self._asked_at = self._clock()
            return self._problem

    async def _found(self) -> RunnerRefused | None:
        try:
            await self._runner.check()
        except RunnerRefused as refused:
            return refused
        return None
