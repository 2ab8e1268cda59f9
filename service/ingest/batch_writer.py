"""Group commit: callers submit a change and await its commit; pending changes are written in one transaction.

Load makes the batches larger, not the latency. A tick that is older than another of its run in the batch gets the
sequence of the newer one. Committed changes are published to local subscribers before the callers continue.
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
    """The writer was stopped before the outcome of the change was known."""


class BatchWriter:
    """Write all callbacks of this process to the database."""

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
        """Return a future of the outcome, set after the commit; it raises if the commit fails."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._pending.append((change, outcome))
        self._ready.set()
        return outcome

    async def run(self) -> None:
        """Write batches until cancelled; a batch that is being written then is still committed."""
        while True:
            await self._ready.wait()
            batch = self._take_batch()
            if not self._pending:
                self._ready.clear()
            await self._commit(batch)

    async def drain(self) -> None:
        """Commit the pending changes, at a shutdown."""
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
            for _, future in batch:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else WriterStopped())
            if not isinstance(error, Exception):
                raise
            return
        self.stats.batches += 1
        self.stats.changes += len(batch)
        try:
            changed = store.select_newest(changes, outcomes)
            self._changes.wake_deliveries(changed.keys())
            await self._notify(changed)
        finally:  # the changes are committed, even if publishing them fails
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    async def _write_batch(self, changes: Sequence[Change]) -> list[Outcome]:
        return await store.write(self._database, changes, self._outbox)

    async def _notify(self, changed: Mapping[str, Applied]) -> None:
        """Publish the changed jobs; a job that has no local subscriber is not even read."""
        unread = []
        for job_id, outcome in changed.items():
            if outcome.job is not None:
                self._changes.publish(outcome.job)
            elif self._changes.has_subscribers(job_id, str(outcome.user_id)):
                unread.append(job_id)
        if unread:
            async with self._database.reading() as session:
                jobs = await queries.list_by_ids(session, unread)
            for job in jobs:
                self._changes.publish(job)
