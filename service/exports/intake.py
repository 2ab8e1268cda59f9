"""Check requests for exports and store them: all of them, or none.

What a single request and a batch of a thousand need is the same, and takes the same number of statements.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from infra.egress import EgressClient
from infra.storage import Storage
from service.clock import DAY_SECONDS
from service.costs.control import Budgets
from service.exports import checks
from service.exports.each_request import check_each, problems_at
from service.exports.forecasts import RunForecasts
from service.exports.models import ExportLimits, ExportRequest, Submitted
from service.exports.submissions import to_submission
from service.jobs import queries, transitions
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.queue.submissions import to_pending_job
from service.webhooks import endpoints
from service.webhooks.models import Endpoint

URLS_AT_ONCE = 16


@dataclass(frozen=True)
class Intake:
    """Where requests for exports become jobs."""

    storage: Storage
    egress: EgressClient
    budgets: Budgets
    forecasts: RunForecasts
    limits: ExportLimits
    clock: Callable[[], float]

    async def check(
        self, user_id: str, requests: Sequence[ExportRequest], *, absent_keys: Collection[str] = ()
    ) -> None:
        """Check what can be checked before the transaction. Raises a problem that names the request."""
        now = self.clock()
        max_days = self.limits.max_schedule_days
        check_each(
            requests, lambda it: checks.check_start(it.schedule.not_before, max_days=max_days, now=now)
        )
        check_each(requests, lambda it: self.budgets.check_limit(it.max_cost_usd))
        keys = {key for request in requests for key in request.config.input_keys}
        missing = await checks.find_missing(self.storage, user_id, keys - set(absent_keys))
        check_each(requests, lambda it: checks.check_sources(it.config, missing))
        check_each(requests, lambda it: checks.check_output_place(self.storage, user_id, it.config))
        await self._check_urls(requests)

    def build_jobs(
        self, user_id: str, requests: Sequence[ExportRequest], *, batch_id: str | None = None
    ) -> list[Job]:
        """Return the jobs of requests, before the transaction: others wait for as long as that takes.

        Their ids are in the order of the requests, so that lists and the queue are, too.
        """
        now = self.clock()
        job_ids = sorted(new_id(now) for _ in requests)
        return [
            self._build_job(job_id, user_id, request, batch_id, now)
            for job_id, request in zip(job_ids, requests, strict=True)
        ]

    async def store(
        self, session: AsyncSession, user_id: str, requests: Sequence[ExportRequest], jobs: Sequence[Job]
    ) -> list[Submitted]:
        """Check what must not race, and store the jobs of the requests.

        Call it in the user's turn only (`lock_user`).
        """
        now = self.clock()
        self.budgets.check_new(user_id)
        await checks.check_quota(session, user_id, self.limits.max_queued, more=len(requests))
        await checks.check_bytes(session, user_id, self.limits.max_bytes, more=len(requests))
        erased = await checks.find_erased_folders(session, user_id, [it.config for it in requests], now=now)
        check_each(requests, lambda it: checks.check_sources_kept(it.config, erased))
        chosen_keys = [it.config.output_key for it in requests if it.config.output_key is not None]
        holders = await queries.find_key_holders(session, user_id, chosen_keys, now=now)
        check_each(requests, partial(_check_output_key, holders))
        forecasts = await self.forecasts.find(session, user_id, requests)
        jobs = [
            msgspec.structs.replace(job, **forecast) for job, forecast in zip(jobs, forecasts, strict=True)
        ]
        own_endpoints = await _store_endpoints(session, jobs, requests, now)
        await transitions.insert_all(session, jobs)
        self.forecasts.add_after_commit(session, jobs)
        return [Submitted(job, own_endpoints.get(job.job_id)) for job in jobs]

    async def _check_urls(self, requests: Sequence[ExportRequest]) -> None:
        """Check each URL of a webhook once, where it is named first."""
        slots = asyncio.Semaphore(URLS_AT_ONCE)
        first = {it.webhook_url: it.path for it in reversed(requests) if it.webhook_url is not None}

        async def check(url: str, path: Sequence[str | int]) -> None:
            async with slots:
                with problems_at(path):
                    await endpoints.check_url(self.egress, url, "webhook_url")

        await asyncio.gather(*(check(url, path) for url, path in first.items()))

    def _build_job(
        self, job_id: str, user_id: str, request: ExportRequest, batch_id: str | None, now: float
    ) -> Job:
        submission = replace(
            to_submission(job_id, user_id, request),
            expires_at=self._expiry_of(request, now),
            batch_id=batch_id,
        )
        return to_pending_job(
            submission,
            runner=self.limits.runner,
            attempt_limit=self.limits.attempt_limit,
            head_start_seconds=self.limits.head_start_seconds,
            now=now,
        )

    def _expiry_of(self, request: ExportRequest, now: float) -> float | None:
        """Return when the file is deleted: after the days of the request or of the service, whichever are fewer."""
        days = [days for days in (request.expires_in_days, self.limits.output_days) if days]
        return now + min(days) * DAY_SECONDS if days else None


def _check_output_key(holders: dict[str, str], request: ExportRequest) -> None:
    """Raise OutputKeyInUse if an export, or an earlier request, has the key."""
    key = request.config.output_key
    if key is not None:
        checks.check_output_key(key, holders.get(key))
        holders[key] = ".".join(map(str, request.path))


async def _store_endpoints(
    session: AsyncSession, jobs: Sequence[Job], requests: Sequence[ExportRequest], now: float
) -> dict[str, Endpoint]:
    """Store the endpoints of single exports; return them by job id."""
    values = [
        endpoints.new_values(
            job.user_id, request.webhook_url, events=request.webhook_events, job_id=job.job_id, now=now
        )
        for job, request in zip(jobs, requests, strict=True)
        if request.webhook_url is not None
    ]
    return {str(own.job_id): own for own in await endpoints.create_all(session, values)}
