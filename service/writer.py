"""Group commit: callers hand over a change and await its commit; what has gathered is written in one transaction.

Load raises the batch, not the latency. A tick that a newer one of its attempt has overtaken within the batch is
answered with the newer one's sequence. What was committed is published, in order, before its callers go on.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.postgresql import AnyDatabase
from service import progress
from service.models import Job
from service.progress import Change, Outcome
from service.webhooks.outbox import Outbox

MAX_BATCH = 500

Waiting = tuple[Change, "asyncio.Future[Outcome]"]


@dataclass
class Written:
    """What this process has committed since its start."""

    changes: int = 0
    batches: int = 0
    failures: int = 0


class Interrupted(Exception):
    """The writer was stopped before it could tell what became of the change."""


class Writer:
    """The one way for callbacks into the database."""

    def __init__(
        self, database: AnyDatabase, publish: Callable[[Job], None], outbox: Outbox | None = None
    ) -> None:
        self._database = database
        self._publish = publish
        self._outbox = outbox
        self._waiting: list[Waiting] = []
        self._ready = asyncio.Event()
        self.written = Written()

    async def apply(self, change: Change) -> Outcome:
        """Apply the change; returns after its commit, raises what kept the batch from being committed."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, answer))
        self._ready.set()
        return await answer

    async def run(self) -> None:
        """Write batch after batch, until cancelled; what is in hand then is still committed."""
        while True:
            await self._ready.wait()
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            if not self._waiting:
                self._ready.clear()
            await self._commit(batch)

    async def drain(self) -> None:
        """Commit what is waiting, for a shutdown."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            await self._commit(batch)

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        try:
            outcomes = await self._written([change for change, _ in batch])
        except BaseException as error:
            self.written.failures += 1
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else Interrupted())
            if not isinstance(error, Exception):
                raise
            return
        self.written.batches += 1
        self.written.changes += len(batch)
        try:
            for outcome in outcomes:
                if isinstance(outcome, progress.Applied) and outcome.job is not None:
                    self._publish(outcome.job)
        finally:  # what is committed is true, whether or not it could be told
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():
                    answer.set_result(outcome)

    async def _written(self, changes: Sequence[Change]) -> list[Outcome]:
        return await progress.write(self._database, changes, self._outbox)
