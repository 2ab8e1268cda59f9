"""What a user does with an export: submit, edit, cancel, retry. Values in, values out: no HTTP.

A change commits first; then `JobChanges` acts on it. Checks that must not race (quota, output key, idempotency key)
run in the transaction of the change, one user at a time.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.egress import EgressClient
from infra.storage import Storage
from service.exports import checks
from service.exports.edits import to_columns
from service.exports.models import ExportRequest, Idempotency, Submitted
from service.exports.submissions import to_submission
from service.fanout.changes import JobChanges
from service.jobs import erasures, queries, transitions
from service.jobs.idempotency import IdempotencyKey
from service.jobs.ids import new_id
from service.jobs.models import Job, Status
from service.problems import (
    AlreadyFinished,
    AttemptStillEnding,
    Erased,
    ExportIdTaken,
    Invalid,
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
        storage: Storage,
        egress: EgressClient,
        changes: JobChanges,
        *,
        runner: str,
        max_queued: int,
        attempt_limit: int,
        max_bytes: int = 0,
        head_start_seconds: float,
        max_schedule_days: float,
        output_days: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`max_queued` exports of one user may be pending or processing, and their files take `max_bytes`.

        `head_start_seconds` is what a high priority is worth; `not_before` may be `max_schedule_days` from now.
        """
        self._database = database
        self._storage = storage
        self._egress = egress
        self._changes = changes
        self._runner = runner
        self._max_queued = max_queued
        self._attempt_limit = attempt_limit
        self._max_bytes = max_bytes
        self._head_start_seconds = head_start_seconds
        self._max_schedule_days = max_schedule_days
        self._output_days = output_days
        self._clock = clock

    async def submit(
        self, user_id: str, request: ExportRequest, idempotency: Idempotency | None = None
    ) -> Submitted:
        """Store a pending job; return the earlier one if the idempotency key or the chosen id has one.

        The run is not waited for.
        """
        async with self._database.reading() as session:
            job = await _find_earlier(session, user_id, request, idempotency)
        if job is None:
            await self.check(user_id, request)
            job = await self._submit_once(user_id, request, idempotency)
        if request.webhook_url is None:
            return Submitted(job, None)
        async with self._database.reading() as session:
            own_endpoints = await endpoints.list_by_job(session, user_id, job.job_id)
        return Submitted(job, own_endpoints[0] if own_endpoints else None)

    async def check(self, user_id: str, request: ExportRequest) -> None:
        """Raise Invalid for a request that would be refused even if there were no other exports."""
        parts = (self._storage, self._egress)
        days, now = self._max_schedule_days, self._clock()
        await checks.check_request(*parts, user_id, request, max_days=days, now=now)

    async def get(self, user_id: str, job_id: str) -> Job:
        """Return one of the user's exports, by its own id or the chosen one; raises NotFound or Erased."""
        async with self._database.reading() as session:
            job = await queries.get(session, user_id, job_id)
            if job is None and await erasures.find(session, user_id, job_id, now=self._clock()):
                raise Erased
        if job is None:
            raise NotFound("The export does not exist.")
        return job

    async def edit(self, user_id: str, job_id: str, fields: Mapping[str, Any]) -> Job:
        """Set the given ones of `name`, `metadata` and `project_id`, in any state, and `priority` while it waits.

        Raises NotFound, AlreadyStarted.
        """
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            job = await queries.get(session, user_id, job_id)
            if job is not None and fields:
                columns = to_columns(job, fields, head_start_seconds=self._head_start_seconds)
                job = await transitions.edit(session, job, columns, now=self._clock())
        if job is None:
            raise NotFound("The export does not exist.")
        if fields:
            self._changes.publish(job)  # an edit calls for nothing else
        return job

    async def cancel(self, user_id: str, job_id: str) -> Job:
        """Cancel an active export and stop its run; cancelling again changes nothing.

        Raises AlreadyFinished.
        """
        job = await self.get(user_id, job_id)
        async with self._database.transaction() as session:
            cancelled = await transitions.cancel(session, user_id, job.job_id, now=self._clock())
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
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            await checks.check_quota(session, user_id, self._max_queued)
            await checks.check_output_key(
                session, user_id, job.output_key, now=self._clock(), except_job_id=job.job_id
            )
            retried = await transitions.retry(
                session, user_id, job.job_id, attempts=self._attempt_limit, now=self._clock()
            )
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
        async with self._database.transaction() as session:
            await transitions.lock_user(session, user_id)
            if (earlier := await _find_earlier(session, user_id, request, idempotency)) is not None:
                return earlier
            await checks.check_quota(session, user_id, self._max_queued)
            await checks.check_bytes(session, user_id, self._max_bytes)
            await checks.check_sources_kept(session, user_id, request.config, now=self._clock())
            if request.config.output_key is not None:
                await checks.check_output_key(session, user_id, request.config.output_key, now=self._clock())
            job = await self._store(session, user_id, request)
            if idempotency is not None:
                session.add(
                    IdempotencyKey(
                        user_id=user_id,
                        key=idempotency.key,
                        body_hash=idempotency.body_hash,
                        job_id=job.job_id,
                        created_at=job.created_at,
                    )
                )
        await self._changes.notify(job)
        return job

    async def _store(self, session: AsyncSession, user_id: str, request: ExportRequest) -> Job:
        now = self._clock()
        job_id = new_id(now)
        if request.webhook_url is not None:
            await endpoints.create(
                session,
                user_id,
                request.webhook_url,
                events=request.webhook_events,
                job_id=job_id,
                now=now,
            )
        submission = replace(
            to_submission(job_id, user_id, request), expires_at=self._expiry_of(request, now)
        )
        return await transitions.submit(
            session,
            submission,
            runner=self._runner,
            attempt_limit=self._attempt_limit,
            head_start_seconds=self._head_start_seconds,
            now=now,
        )

    def _expiry_of(self, request: ExportRequest, now: float) -> float | None:
        """Return when the file is deleted: after the days of the request or of the service, whichever are fewer."""
        days = [days for days in (request.expires_in_days, self._output_days) if days]
        return now + min(days) * checks.DAY_SECONDS if days else None


async def _find_earlier(
    session: AsyncSession, user_id: str, request: ExportRequest, idempotency: Idempotency | None
) -> Job | None:
    """Return the job that was submitted with this key, or else with this chosen id.

    Raises Invalid or ExportIdTaken if its request had another body.
    """
    job = await _find_by_key(session, user_id, idempotency) if idempotency is not None else None
    if job is not None or request.export_id is None:
        return job
    job = await queries.find_by_export_id(session, user_id, request.export_id)
    if job is not None and job.body_hash != request.body_hash:
        raise ExportIdTaken(request.export_id)
    return job


async def _find_by_key(session: AsyncSession, user_id: str, idempotency: Idempotency) -> Job | None:
    row = await session.get(IdempotencyKey, (user_id, idempotency.key))
    if row is None:
        return None
    if row.body_hash != idempotency.body_hash:
        raise Invalid(
            "This Idempotency-Key was already used with a different request body; use a new key for a new export."
        )
    return await queries.get(session, user_id, row.job_id)
