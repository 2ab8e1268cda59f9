"""What a user does with a batch: submit, show, list, cancel, erase. Values in, values out: no HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.audit.actions import Action
from service.audit.log import record
from service.batches.bulk import BulkChanges
from service.batches.models import BatchRequest, Selection, SubmittedBatch
from service.batches.purge import BatchEraser
from service.exports.each_request import check_each
from service.exports.intake import Intake
from service.exports.models import ExportRequest, Idempotency, Submitted
from service.exports.repeated_requests import find_key, remember_key
from service.fanout.changes import JobChanges
from service.jobs import erasures, queries, transitions
from service.jobs.batches import queries as batch_queries
from service.jobs.batches.models import BATCH_PREFIX, BATCHES
from service.jobs.batches.totals import Batch
from service.jobs.filters import ExportFilter
from service.jobs.ids import new_id
from service.jobs.metadata import encode_metadata
from service.jobs.models import JOBS, Job
from service.problems import Erased, ExportIdTaken, NotFound


@dataclass(frozen=True)
class BatchService:
    """The use cases behind `/api/batches`; safe to run on every replica."""

    database: Database
    intake: Intake
    changes: JobChanges
    bulk: BulkChanges
    eraser: BatchEraser
    clock: Callable[[], float]

    async def submit(
        self, user_id: str, request: BatchRequest, idempotency: Idempotency | None = None
    ) -> SubmittedBatch:
        """Store all exports of a batch, or none; return the earlier batch if the idempotency key has one."""
        async with self.database.reading() as session:
            earlier = await self._find_earlier(session, user_id, idempotency)
        if earlier is not None:
            return earlier
        await self.intake.check(user_id, request.requests)
        batch_id = BATCH_PREFIX + new_id(self.clock())
        jobs = self.intake.build_jobs(user_id, request.requests, batch_id=batch_id)
        async with self.database.transaction() as session:
            await transitions.lock_user(session, user_id)
            if (earlier := await self._find_earlier(session, user_id, idempotency)) is not None:
                return earlier
            stored = await self._store(session, user_id, batch_id, request, jobs)
            await record(session, Action.BATCH_CREATED, user_id, [batch_id], now=self.clock())
            if idempotency is not None:
                remember_key(session, user_id, idempotency, batch_id, self.clock())
        jobs = [it.job for it in stored]
        await self.changes.notify_all(jobs)
        own = {it.job.job_id: it.endpoint for it in stored if it.endpoint is not None}
        return SubmittedBatch(await self.get(user_id, batch_id), jobs, own)

    async def get(self, user_id: str, batch_id: str) -> Batch:
        """Return one of the user's batches; raises NotFound or Erased."""
        async with self.database.reading() as session:
            return await self._load(session, user_id, batch_id)

    async def list_page(
        self, user_id: str, *, before: str | None, limit: int
    ) -> tuple[list[Batch], str | None]:
        """Return a page of the user's batches, newest first, and where the next one begins."""
        async with self.database.reading() as session:
            batches = await batch_queries.list_batches(session, user_id, before=before, limit=limit + 1)
            shown = await batch_queries.add_totals(session, batches[:limit])
        return shown, shown[-1]["batch_id"] if len(batches) > limit else None

    async def cancel(self, user_id: str, batch_id: str) -> Batch:
        """Cancel all active exports of a batch and stop their runs; cancelling again changes nothing."""
        await self.get(user_id, batch_id)
        cursor: str | None = ""
        while cursor is not None:
            selection = Selection(export_filter=ExportFilter(batch_id=batch_id), after=cursor)
            cursor = (await self.bulk.cancel(user_id, selection)).next_cursor
        return await self.get(user_id, batch_id)

    async def _load(self, session: AsyncSession, user_id: str, batch_id: str) -> Batch:
        batch = await batch_queries.get_batch(session, user_id, batch_id)
        if batch is None:
            if await erasures.find(session, user_id, batch_id, now=self.clock()):
                raise Erased("The batch was erased.")
            raise NotFound("The batch does not exist.")
        (shown,) = await batch_queries.add_totals(session, [batch])
        return shown

    async def _find_earlier(
        self, session: AsyncSession, user_id: str, idempotency: Idempotency | None
    ) -> SubmittedBatch | None:
        """Return the batch that was submitted with this key; raises Invalid if its request had another body."""
        batch_id = await find_key(session, user_id, idempotency) if idempotency is not None else None
        if batch_id is None:
            return None
        batch = await self._load(session, user_id, batch_id)
        jobs = await queries.list_page(
            session, user_id, ExportFilter(batch_id=batch_id), before=None, limit=batch["total"]
        )
        return SubmittedBatch(batch, jobs[::-1], {})

    async def _store(
        self, session: AsyncSession, user_id: str, batch_id: str, request: BatchRequest, jobs: Sequence[Job]
    ) -> list[Submitted]:
        """Store the batch and its exports."""
        chosen = [it.export_id for it in request.requests if it.export_id is not None]
        is_taken = (JOBS.c.user_id == user_id, JOBS.c.export_id.in_(chosen))
        taken = set((await session.execute(select(JOBS.c.export_id).where(*is_taken))).scalars())
        check_each(request.requests, lambda it: _check_export_id(taken, it))
        values = {
            "batch_id": batch_id,
            "user_id": user_id,
            "name": request.name,
            "metadata": encode_metadata(request.metadata),
            "exports": len(request.requests),
            "created_at": self.clock(),
        }
        await session.execute(insert(BATCHES).values(values))
        return await self.intake.store(session, user_id, request.requests, jobs)


def _check_export_id(taken: set[str], request: ExportRequest) -> None:
    """Raise ExportIdTaken if an export, or an earlier request of the batch, has the chosen id."""
    if request.export_id is not None:
        if request.export_id in taken:
            raise ExportIdTaken(request.export_id)
        taken.add(request.export_id)
