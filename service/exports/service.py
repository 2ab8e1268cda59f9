"""What a user does with an export: submit, edit, cancel, retry. Values in, values out: no HTTP.

A change commits first; then `JobChanges` acts on it. Checks that must not race (quota, output key, idempotency key)
run in the transaction of the change, one user at a time.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.audit.actions import Action
from service.audit.log import record
from service.costs.control import Budgets
from service.exports import checks
from service.exports.edits import to_columns
from service.exports.intake import Intake
from service.exports.models import ExportLimits, ExportRequest, Idempotency, Submitted
from service.exports.repeated_requests import find_earlier, remember_key
from service.fanout.changes import JobChanges
from service.jobs import erasures, queries, transitions
from service.jobs.models import Job, Status
from service.problems import (
    AlreadyFinished,
    AttemptStillEnding,
    Erased,
    NotFound,
    NotRetryable,
)
from service.webhooks import endpoints

ENDING_RETRY_SECONDS = 2
_RETRYABLE = (Status.ERROR, Status.CANCELLED)


class ExportService:
    """The use cases behind `/api/exports`; safe to run on every replica."""

    def __init__(
        self,
        database: Database,
        intake: Intake,
        changes: JobChanges,
        budgets: Budgets,
        *,
        limits: ExportLimits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._intake = intake
        self._changes = changes
        self._budgets = budgets
        self._limits = limits
        self._clock = clock

    async def submit(
        self, user_id: str, request: ExportRequest, idempotency: Idempotency | None = None
    ) -> Submitted:
        """Store a pending job; return the earlier one if the idempotency key or the chosen id has one.

        The run is not waited for.
        """
        async with self._database.reading() as session:
            job = await find_earlier(session, user_id, request, idempotency)
        if job is None:
            await self.check(user_id, request)
            job = await self._submit_once(user_id, request, idempotency)
        if request.webhook_url is None:
            return Submitted(job, None)
        async with self._database.reading() as session:
            own_endpoints = await endpoints.list_by_job(session, user_id, job.job_id)
        return Submitted(job, own_endpoints[0] if own_endpoints else None)

    async def check(self, user_id: str, request: ExportRequest, *, absent_keys: Collection[str] = ()) -> None:
        """Raise Invalid for a request that would be refused even if there were no other exports.

        Sources with one of the `absent_keys` need not be there.
        """
        await self._intake.check(user_id, [request], absent_keys=absent_keys)

    async def get(self, user_id: str, job_id: str) -> Job:
        """Return one of the user's exports, by its own id or the chosen one; raises NotFound or Erased."""
        async with self._database.reading() as session:
            return await self._find(session, user_id, job_id)

    async def _find(self, session: AsyncSession, user_id: str, job_id: str) -> Job:
        job = await queries.get(session, user_id, job_id)
        if job is None and await erasures.find(session, user_id, job_id, now=self._clock()):
            raise Erased("The export was erased.")
        if job is None:
            raise NotFound("The export does not exist.")
        return job

    async def edit(self, user_id: str, job_id: str, fields: Mapping[str, Any]) -> Job:
        """Set the given ones of `name`, `metadata` and `project_id`, in any state, and `priority` while it waits.

        Raises NotFound, Erased or AlreadyStarted.
        """
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            job = await self._find(session, user_id, job_id)
            if not fields:
                return job
            columns = to_columns(job, fields, head_start_seconds=self._limits.head_start_seconds)
            edited = await transitions.edit(session, job, columns, now=self._clock())
            if edited is not None:
                await record(session, Action.EXPORT_EDITED, user_id, [job.job_id], now=self._clock())
        if edited is None:
            raise NotFound("The export does not exist.")
        self._changes.publish(edited)  # an edit calls for nothing else
        return edited

    async def cancel(self, user_id: str, job_id: str) -> Job:
        """Cancel an active export and stop its run; cancelling again changes nothing.

        Raises AlreadyFinished.
        """
        job = await self.get(user_id, job_id)
        async with self._database.transaction() as session:
            cancelled = await transitions.cancel(session, user_id, job.job_id, now=self._clock())
            if cancelled is not None:
                await record(session, Action.EXPORT_CANCELLED, user_id, [job.job_id], now=self._clock())
        if cancelled is None:
            job = await self.get(user_id, job_id)
            if job.status is not Status.CANCELLED:
                raise AlreadyFinished
            return job
        await self._changes.notify(cancelled, ended_attempt=cancelled)
        return cancelled

    async def retry(self, user_id: str, job_id: str) -> Job:
        """Start a failed or cancelled export again, with a full allowance of attempts.

        Raises NotRetryable, QuotaExceeded, OutputKeyInUse, or AttemptStillEnding while its last output is published.
        """
        job = await self.get(user_id, job_id)
        self._budgets.check_new(user_id)
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            await checks.check_quota(session, user_id, self._limits.max_queued)
            holders = await queries.find_key_holders(
                session, user_id, [job.output_key], now=self._clock(), excluding=job.job_id
            )
            checks.check_output_key(job.output_key, holders.get(job.output_key))
            retried = await transitions.retry(
                session, user_id, job.job_id, attempts=self._limits.attempt_limit, now=self._clock()
            )
            if retried is not None:
                await record(session, Action.EXPORT_RETRIED, user_id, [job.job_id], now=self._clock())
        if retried is None:
            job = await self.get(user_id, job_id)
            if job.status in _RETRYABLE:
                raise AttemptStillEnding(headers={"Retry-After": str(ENDING_RETRY_SECONDS)})
            raise NotRetryable
        await self._changes.notify(retried)
        return retried

    async def _submit_once(
        self, user_id: str, request: ExportRequest, idempotency: Idempotency | None
    ) -> Job:
        """Store the job, unless another request with the same key or chosen id was faster."""
        jobs = self._intake.build_jobs(user_id, [request])
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            if (earlier := await find_earlier(session, user_id, request, idempotency)) is not None:
                return earlier
            (submitted,) = await self._intake.store(session, user_id, [request], jobs)
            job_ids = [submitted.job.job_id]
            await record(session, Action.EXPORT_CREATED, user_id, job_ids, now=self._clock())
            if idempotency is not None:
                remember_key(session, user_id, idempotency, submitted.job.job_id, submitted.job.created_at)
        await self._changes.notify(submitted.job)
        return submitted.job
