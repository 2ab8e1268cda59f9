"""Whether the runner can start attempts, by checks and by the starts that it refuses."""

import asyncio
import logging
from dataclasses import dataclass

from service.clock import Clock
from service.dispatch.runners.base import Runner, RunnerNotice, RunnerRefused

logger = logging.getLogger("framehook.runners")

CACHE_SECONDS = 5.0
LOG_SECONDS = 60.0


@dataclass(frozen=True)
class Outage:
    """Why no attempt can be started, and since when, by the monotonic clock."""

    refused: RunnerRefused
    since: float

    @property
    def reason(self) -> str:
        """What waiting exports wait for: the first sentence of the refusal, whose rest is for operators."""
        return self.refused.message.partition(". ")[0].removesuffix(".")


class RunnerReadiness:
    """Checks the runner at most once every CACHE_SECONDS, and holds the outage that keeps all attempts from starting.

    During an outage nothing else is started, so that it uses up nothing of any export, and a check ends it.
    """

    def __init__(self, runner: Runner, clock: Clock | None = None) -> None:
        self._runner = runner
        self._clock = clock or Clock()
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._problem: RunnerRefused | None = None
        self._logged_at = 0.0
        self._began = asyncio.Event()
        self.outage: Outage | None = None
        self.refused_starts = 0
        """How many starts the runner has refused."""

    async def problem(self) -> RunnerRefused | None:
        """Return why attempts can't be started now; None if they can."""
        async with self._lock:
            if self._clock.monotonic() >= self._checked_at + CACHE_SECONDS:
                self._problem = await self._check_runner()
                self._checked_at = self._clock.monotonic()
                self._note(self._problem)
            return self._problem

    @property
    def notice(self) -> RunnerNotice | None:
        """What the runner has found odd, although attempts can be started."""
        return self._runner.notice

    def report_refusal(self, refused: RunnerRefused) -> None:
        """Note that the runner refused to start an attempt."""
        self.refused_starts += 1
        if refused.affects_all:
            self._problem, self._checked_at = refused, self._clock.monotonic()
            self._note(refused)

    async def run(self) -> None:
        """Check the runner every few seconds while there is an outage, until cancelled."""
        while True:
            await self._began.wait()
            await asyncio.sleep(CACHE_SECONDS)
            await self.problem()

    def _note(self, refused: RunnerRefused | None) -> None:
        """Begin, continue or end the outage, and log that, once a minute while it lasts."""
        now, before = self._clock.monotonic(), self.outage
        if refused is not None and refused.affects_all:
            self.outage = Outage(refused, now if before is None else before.since)
            self._began.set()
            if before is None or now - self._logged_at >= LOG_SECONDS:
                self._logged_at = now
                logger.error("no export can be started, all wait: %s", refused.message)
        elif before is not None:
            self.outage = None
            self._began.clear()
            logger.warning("exports can be started again, after %.0f s", now - before.since)
            self._runner.freed.set()

    async def _check_runner(self) -> RunnerRefused | None:
        try:
            await self._runner.check()
        except RunnerRefused as refused:
            return refused
        return None
