"""Predict runs by the learned rates, and learn from those that finish."""

import asyncio
import logging
from contextlib import suppress

from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from service.clock import Clock
from service.forecast import store
from service.forecast.rates import Prediction, RateBook, Subject, run_of, wait_of
from service.forecast.work import Work

logger = logging.getLogger("framehook.forecast")

RELOAD_SECONDS = 30.0
"""How soon a replica knows what the others have learned."""
MAX_WAITING = 1_000
"""Finished runs that wait to be learned from; more than these are dropped while the database does not answer."""


class Forecaster:
    """The rates of this process: predictions read memory alone, and finished runs are learned from in the background.

    A run that is not learned from, because the process ends first, changes no result and is not made up for.
    """

    def __init__(self, database: Database, clock: Clock, runner: str) -> None:
        """`runner` is the name under which its rates are learned (`name_runner`)."""
        self.runner = runner
        self._database = database
        self._clock = clock
        self._book = RateBook()
        self._finished: list[tuple[Subject, float]] = []
        self._wake = asyncio.Event()
        self._learned_at = 0.0

    def predict(self, work: Work) -> Prediction:
        """Forecast a run from its start to its end."""
        return self._book.predict(run_of(work), now=self._clock.wall())

    def predict_wait(self, foreseen_seconds: float) -> Prediction:
        """Forecast a wait by how long it takes if nothing joins the queue."""
        if foreseen_seconds <= 0:
            return Prediction(0.0, 0.0)
        high = self._book.predict(wait_of(self.runner, foreseen_seconds), now=self._clock.wall()).p90
        return Prediction(foreseen_seconds, max(high, foreseen_seconds))

    def record(self, work: Work, seconds: float) -> None:
        """Learn later from a run that has finished."""
        self._record(run_of(work), seconds)

    def record_wait(self, foreseen_seconds: float, seconds: float) -> None:
        """Learn later from a wait that has ended."""
        self._record(wait_of(self.runner, foreseen_seconds), seconds)

    def _record(self, subject: Subject, seconds: float) -> None:
        if len(self._finished) < MAX_WAITING:
            self._finished.append((subject, seconds))
            self._wake.set()

    async def run(self) -> None:
        """Learn, and take over what other replicas have learned, until cancelled."""
        while True:
            try:
                await self.reload()
                await self.learn()
            except DATABASE_ERRORS as error:
                logger.warning(
                    "rates of runs can't be learned now: %s", type(error).__name__, extra={"cause": error}
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_SECONDS):
                    await self._wake.wait()

    async def reload(self) -> None:
        """Take over the rates that were learned since the last time."""
        async with self._database.reading() as session:
            rates = await store.list_rates(session, after=self._learned_at - RELOAD_SECONDS)
        self._book.merge(rates)
        self._learned_at = max([self._learned_at, *(rate.learned_at for rate in rates)])

    async def learn(self) -> None:
        """Learn from the runs that have finished, in one transaction."""
        self._wake.clear()
        finished, now = tuple(self._finished), self._clock.wall()
        if not finished:
            return
        kinds = list(dict.fromkeys(kind for subject, _ in finished for kind in subject.kinds))
        async with self._database.transaction() as session:
            book = RateBook(await store.lock_rates(session, kinds))
            changed = {
                rate.kind: rate
                for subject, seconds in finished
                for rate in book.learn(subject, seconds, now=now)
            }
            await store.save_rates(session, list(changed.values()), now=now)
        del self._finished[: len(finished)]  # not before: without the database it is learned later
        self._book.merge(changed.values())
