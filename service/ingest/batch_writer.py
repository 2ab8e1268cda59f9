"""Group commit: callers submit a change and await its commit; pending changes are written in one transaction.

Load makes the batches larger, not the latency. A tick that is older than another of its run in the batch gets the
sequence of the newer one. Committed changes are published to local subscribers before the callers continue.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat

from callbacks.envelope import Failure
from infra.database.base import Database, to_json_array
from infra.database.errors import DATABASE_ERRORS
from infra.storage import StorageError
from service.costs.control import Budgets
from service.fanout.changes import JobChanges
from service.ingest import store
from service.ingest.changes import Applied, Change, Outcome, stop_run
from service.jobs import transition_sql
from service.jobs.models import Job
from service.jobs.transitions import to_job
from service.metrics.callbacks import CallbackMetrics
from service.metrics.recorder import ExportRecorder
from service.webhooks.outbox import Outbox

logger = logging.getLogger("framehook.callbacks")

MAX_BATCH = 500

OnOutcome = Callable[[Outcome | Exception], None]
"""Gets the outcome of a change after its commit, or what kept it from being committed."""
PendingChange = tuple[Change, OnOutcome]
Write = Callable[[Sequence[Change]], Awaitable[Sequence[Outcome | None]]]
"""Commits changes and returns their outcomes; None for a change that it left alone."""


class WriterStopped(Exception):
    """The writer was stopped before the outcome of the change was known."""


class BatchWriter:
    """Write all callbacks of this process to the database."""

    def __init__(
        self,
        database: Database,
        changes: JobChanges,
        outbox: Outbox | None = None,
        recorder: ExportRecorder | None = None,
        metrics: CallbackMetrics | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        """Without `budgets` only the limits of exports themselves hold."""
        self._budgets = budgets or Budgets(database)
        self._database = database
        self._changes = changes
        self._outbox = outbox
        self._pending: list[PendingChange] = []
        self._ready = asyncio.Event()
        self._stopping: set[asyncio.Task[None]] = set()
        self._recorder = recorder
        self.metrics = metrics or CallbackMetrics()

    def submit(self, change: Change) -> "asyncio.Future[Outcome]":
        """Return a future of the outcome, set after the commit; it raises if the commit fails."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.enqueue(change, partial(_set_outcome, future))
        return future

    def enqueue(self, change: Change, on_outcome: OnOutcome) -> None:
        """Call `on_outcome` after the commit, or when it fails: a future for each callback would cost more."""
        self._pending.append((change, on_outcome))
        self._ready.set()

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
        """Commit the ticks that change nothing but their row, then all other changes, then ends for a budget."""
        for write in (self._write_ticks, self._write_batch, self._write_batch):
            if batch:
                batch = await self._write(batch, write)

    async def _write(self, batch: Sequence[PendingChange], write: Write) -> Sequence[PendingChange]:
        """Commit changes, publish them and tell their callers; return the changes that are left."""
        changes = [change for change, _ in batch]
        try:
            outcomes = await write(changes)
        except BaseException as error:
            self.metrics.commit_failures.inc()
            _report(batch, repeat(error if isinstance(error, Exception) else WriterStopped()))
            if not isinstance(error, Exception):
                raise
            return []
        written = sum(outcome is not None for outcome in outcomes)
        if written:
            self.metrics.batch_size.observe(written)
        outcomes, left = self._withhold(batch, outcomes)
        try:
            await self._notify(store.select_newest(changes, outcomes))
        except BaseException:
            _report(left, repeat(WriterStopped()))
            raise
        finally:  # these changes are committed, even if publishing them fails
            _report(batch, outcomes)
            self._stop_runs(outcomes)
        return left

    def _withhold(
        self, batch: Sequence[PendingChange], outcomes: Sequence[Outcome | None]
    ) -> tuple[list[Outcome | None], list[PendingChange]]:
        """Return the outcomes that can be reported, and what is left: changes, and ends of runs over a budget."""
        reported: list[Outcome | None] = []
        left = []
        for (change, on_outcome), outcome in zip(batch, outcomes, strict=True):
            failure = self._check_budgets(change, outcome)
            if outcome is None:
                left.append((change, on_outcome))
            elif failure is not None:
                left.append((stop_run(change, failure), on_outcome))
            reported.append(None if failure is not None else outcome)
        return reported, left

    def _check_budgets(self, change: Change, outcome: Outcome | None) -> Failure | None:
        """Return why the run of an applied change has to stop; None if it may go on."""
        if not isinstance(outcome, Applied) or outcome.cost is None:
            return None
        failure = self._budgets.check_callback(change.report.job_id, str(outcome.user_id), outcome.cost)
        return None if change.ends_attempt else failure

    def _stop_runs(self, outcomes: Sequence[Outcome | None]) -> None:
        """Stop the runs that have reached a budget, while the next callbacks are written."""
        for outcome in outcomes:
            if isinstance(outcome, Applied) and outcome.stops_run and outcome.job is not None:
                task = asyncio.create_task(self._stop_run(outcome.job))
                self._stopping.add(task)
                task.add_done_callback(self._stopping.discard)

    async def _stop_run(self, job: Job) -> None:
        """Stop the run and delete what it stored; a service that died may have published its output."""
        try:
            await self._changes.clean_up(job, ended_attempt=job)
        except (StorageError, OSError, *DATABASE_ERRORS) as error:
            logger.warning(
                "what a stopped run stored can't be deleted: %s", type(error).__name__, extra=job.log_fields
            )

    async def _write_ticks(self, changes: Sequence[Change]) -> Sequence[Outcome | None]:
        return await store.write_ticks(self._database, changes)

    async def _write_batch(self, changes: Sequence[Change]) -> Sequence[Outcome | None]:
        outcomes = await store.write(self._database, changes, self._outbox)
        self._record(changes, outcomes)  # ticks, which are most, change nothing that is recorded
        return outcomes

    def _record(self, changes: Sequence[Change], outcomes: Sequence[Outcome | None]) -> None:
        if self._recorder is None:
            return
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Applied) and outcome.job is not None:
                self._recorder.record(outcome.job, change.loss_in(outcome.job))

    async def _notify(self, changed: Mapping[str, Applied]) -> None:
        """Publish the changed jobs; a job that has no local subscriber is not even read."""
        self._changes.wake_deliveries(changed.keys())
        unread = []
        for job_id, outcome in changed.items():
            if outcome.job is not None:
                self._changes.publish(outcome.job)
            elif self._changes.has_subscribers(job_id, str(outcome.user_id)):
                unread.append(job_id)
        if unread:
            statement = transition_sql.select_by_ids(self._database.dialect)
            for row in await self._database.fetch(statement, {"jobs": to_json_array(unread)}):
                self._changes.publish(to_job(row))


def _set_outcome(future: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _report(batch: Sequence[PendingChange], outcomes: Iterable[Outcome | Exception | None]) -> None:
    for (_, on_outcome), outcome in zip(batch, outcomes, strict=False):
        if outcome is None:
            continue
        try:
            on_outcome(outcome)
        except Exception:  # the others still get theirs
            logger.exception("the outcome of a callback could not be reported")
