"""Cancel or retry all exports that a user selects, in short transactions.

A transaction that cancels changes a chunk of exports by one statement. A row that another transaction has locked is
left out, so that a chunk never waits while it has locks itself; what was left out is cancelled alone, after the chunk.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, or_, select

from infra.database.base import Database
from service.audit.actions import Action
from service.audit.log import record
from service.batches.models import BulkChange, Selection
from service.exports.service import ExportService
from service.fanout.changes import JobChanges
from service.jobs import transitions
from service.jobs.models import IS_ACTIVE, JOBS, Status
from service.problems import AlreadyFinished, Erased, NotFound, Problem, QuotaExceeded

MAX_CANCELS: Final = 1_000
MAX_RETRIES: Final = 100
"""How many exports one call changes."""
CHUNK: Final = 100
_RETRYABLE: Final = JOBS.c.status.in_((Status.ERROR, Status.CANCELLED))


@dataclass(frozen=True)
class BulkChanges:
    """Changes of many exports; safe to run on every replica."""

    database: Database
    exports: ExportService
    changes: JobChanges
    clock: Callable[[], float]

    async def cancel(self, user_id: str, selection: Selection) -> BulkChange:
        """Cancel the active exports of a selection and stop their runs."""
        job_ids, next_cursor = await self._select(user_id, selection, IS_ACTIVE, MAX_CANCELS)
        changed = 0
        for start in range(0, len(job_ids), CHUNK):
            chunk = job_ids[start : start + CHUNK]
            async with self.database.transaction() as session:
                cancelled = await transitions.cancel_all(session, user_id, chunk, now=self.clock())
                done = {job.job_id for job in cancelled}
                await record(session, Action.EXPORT_CANCELLED, user_id, sorted(done), now=self.clock())
            await self.changes.notify_all(cancelled, ended_attempts=True)
            changed += len(cancelled)
            changed += await self._cancel_alone(user_id, [job_id for job_id in chunk if job_id not in done])
        return BulkChange(len(job_ids), changed, next_cursor)

    async def retry(self, user_id: str, selection: Selection) -> BulkChange:
        """Start the failed and cancelled exports of a selection again, each as a retry of its own.

        What can't start now stays as it is: its last attempt is still ending, or its output key is in use. Raises
        QuotaExceeded, or another problem with status 429, if a limit of the user leaves no room for any.
        """
        job_ids, next_cursor = await self._select(user_id, selection, _RETRYABLE, MAX_RETRIES)
        changed = 0
        for number, job_id in enumerate(job_ids):
            try:
                await self.exports.retry(user_id, job_id)
                changed += 1
            except Problem as problem:
                if problem.status != QuotaExceeded.status:
                    continue
                if not changed:
                    raise
                return BulkChange(number, changed, job_ids[number - 1])
        return BulkChange(len(job_ids), changed, next_cursor)

    async def _select(
        self, user_id: str, selection: Selection, is_changeable: ColumnElement[bool], limit: int
    ) -> tuple[list[str], str | None]:
        """Return the ids of the exports that can be changed, in their order, and where to go on if there are more."""
        conditions = [JOBS.c.user_id == user_id, is_changeable, JOBS.c.job_id > selection.after]
        if selection.ids is not None:
            conditions.append(or_(JOBS.c.job_id.in_(selection.ids), JOBS.c.export_id.in_(selection.ids)))
        conditions += selection.export_filter.conditions()
        if statuses := selection.export_filter.statuses:
            conditions.append(JOBS.c.status.in_(sorted(statuses)))
        query = select(JOBS.c.job_id).where(*conditions).order_by(JOBS.c.job_id).limit(limit + 1)
        async with self.database.reading() as session:
            job_ids = list((await session.execute(query)).scalars())
        return job_ids[:limit], job_ids[limit - 1] if len(job_ids) > limit else None

    async def _cancel_alone(self, user_id: str, job_ids: Sequence[str]) -> int:
        """Cancel exports whose rows were locked, one after the other; what has ended or is erased since stays so."""
        changed = 0
        for job_id in job_ids:
            with suppress(AlreadyFinished, Erased, NotFound):
                await self.exports.cancel(user_id, job_id)
                changed += 1
        return changed
