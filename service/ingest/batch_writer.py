"""Group commit: callers hand over a change and await its commit; what has gathered is written in one transaction.

Load raises the batch, not the latency. A tick that a newer one of its attempt has overtaken within the batch is
answered with the newer one's sequence. What was committed is published before its callers go on, to those who want it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra.database.base import Database
from service.fanout.changes import JobChanges
from service.ingest import store
from service.ingest.changes import Applied, Change, Outcome
from service.jobs import queries
from service.webhooks.outbox import Outbox

MAX_BATCH = 500

PendingChange = tuple[Change, "asyncio.Future[Outcome]"]


@dataclass
class WriterStats:
    """What this process has committed since its start."""

    changes: int = 0
    batches: int = 0
    failures: int = 0


class WriterStopped(Exception):
    """The writer was stopped before it could tell what became of the change."""


class BatchWriter:
    """The one way for callbacks into the database."""

    def __init__(
        self,
        database: Database,
        changes: JobChanges,
        outbox: Outbox | None = None,
    ) -> None:
        self._database = database
        self._changes = changes
        self._outbox = outbox
        self._pending: list[PendingChange] = []
        self._ready = asyncio.Event()
        self.stats = WriterStats()

    def submit(self, change: Change) -> "asyncio.Future[Outcome]":
        """Apply the change: done after its commit, or with what kept the batch from being committed."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append((change, answer))
        self._ready.set()
        return answer

    async def run(self) -> None:
        """Write batch after batch, until cancelled; what is in hand then is still committed."""
        while True:
            await self._ready.wait()
            batch = self._take_batch()
            if not self._pending:
                self._ready.clear()
            await self._commit(batch)

    async def drain(self) -> None:
        """Commit what is waiting, for a shutdown."""
        while self._pending:
            await self._commit(self._take_batch())

    def _take_batch(self) -> list[PendingChange]:
        batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
        return batch

    async def _commit(self, batch: Sequence[PendingChange]) -> None:
        changes = [change for change, _ in batch]
        try:
            outcomes = await self._write_batch(changes)
        except BaseException as error:
            self.stats.failures += 1
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error if isinstance(error, Exception) else WriterStopped())
            if not isinstance(error, Exception):
                raise
            return
        self.stats.batches += 1
        self.stats.changes += len(batch)
        try:
            changed = store.select_newest(changes, outcomes)
            self._changes.wake_deliveries(changed.keys())
            await self._notify(changed)
        finally:  # what is committed is true, whether or not it could be told
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():
                    answer.set_result(outcome)

    async def _write_batch(self, changes: Sequence[Change]) -> list[Outcome]:
        return await store.write(self._database, changes, self._outbox)

    async def _notify(self, changed: Mapping[str, Applied]) -> None:
        """Publish the jobs that were changed as they now stand; most are read by nobody, and not read here either."""
        unread = []
        for job_id, outcome in changed.items():
            if outcome.job is not None:
                self._changes.publish(outcome.job)
            elif self._changes.has_subscribers(job_id, str(outcome.user_id)):
                unread.append(job_id)
        if unread:
            async with self._database.reading() as session:
                found = await queries.list_by_ids(session, unread)
            for job in found:
                self._changes.publish(job)
