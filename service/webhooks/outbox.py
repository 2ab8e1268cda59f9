"""The outbox: write deliveries in the transaction that changes a job.

Each endpoint that wants the event gets one. Transactions and batches, on both databases, use the same statements.
Progress that was never sent is replaced in its row, so that an export that keeps reporting leaves one row for an
endpoint that does not respond.
"""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import msgspec
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.base import (
    CHANGE_LOG,
    BatchConnection,
    Dialect,
    dialect_of,
    to_json_array,
)
from service.jobs.batches.completion import (
    ENDED_BATCHES,
    CompletedBatch,
    complete_batches,
    list_ended_batches,
)
from service.jobs.batches.queries import fetch_in
from service.jobs.batches.totals import Fetch
from service.jobs.filters import ExportFilter, decode_filter
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer, format_timestamp
from service.jobs.transition_sql import select_by_ids
from service.jobs.transitions import CHANGED_JOBS, to_job
from service.webhooks.models import UNSENT_PROGRESS, WebhookEvent
from service.webhooks.notices import notice_of_batch

_SELECT_ENDPOINTS: Final = """
SELECT endpoint_id, user_id, job_id, events, export_filter FROM webhook_endpoints
WHERE job_id IS NULL AND user_id IN (SELECT value FROM {users}) AND enabled
UNION ALL
SELECT endpoint_id, user_id, job_id, events, export_filter FROM webhook_endpoints
WHERE job_id IN (SELECT value FROM {jobs}) AND enabled
"""

INSERT_DELIVERY: Final = f"""
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, traceparent,
    request_id, state, tries, attempts, requested, next_at, scheduled_at, created_at)
VALUES (:delivery_id, :endpoint_id, :user_id, :job_id, :sequence, :type, :payload, :traceparent,
    :request_id, 'pending', 0, 0, false, :now, :now, :now)
ON CONFLICT (endpoint_id, job_id) WHERE {UNSENT_PROGRESS}
DO UPDATE SET sequence = excluded.sequence, payload = excluded.payload, created_at = excluded.created_at
    WHERE webhook_deliveries.sequence < excluded.sequence
"""  # noqa: S608 - constants only

Row = dict[str, object]
InsertDeliveries = Callable[[list[Row]], Awaitable[object]]
EndpointRows = Sequence[Sequence[Any]]
"""Rows of endpoint_id, user_id, job_id, events and export_filter."""


@dataclass(frozen=True)
class PendingEvents:
    """The jobs that a transaction has changed, and the owner of each by job id.

    `jobs` holds the jobs whose row the change returned. Those in `unread` made progress only; their rows are read
    only if an endpoint wants progress.
    """

    owners: Mapping[str, str]
    jobs: Sequence[Job]
    unread: Sequence[str] = ()

    def select_progress(self, endpoints: EndpointRows) -> list[str]:
        """Return the unread jobs whose progress an endpoint wants."""
        interested = {
            job_id or user_id
            for _, user_id, job_id, events, _ in endpoints
            if EventType.PROGRESS in events.split(",")
        }
        return [job_id for job_id in self.unread if job_id in interested or self.owners[job_id] in interested]


class Outbox:
    """Write deliveries in the transactions of others.

    `written` has the endpoints with new deliveries, by job or batch. The delivery worker takes them out when it learns
    that the change of a job is committed; before the commit it would not see the deliveries. `completed_batches` are
    committed, and not published yet.
    """

    def __init__(self, serializer: JobSerializer, clock: Callable[[], float] = time.time) -> None:
        self._serializer = serializer
        self._clock = clock
        self.written: defaultdict[str, set[str]] = defaultdict(set)
        self.completed_batches: list[CompletedBatch] = []

    async def write_in_session(self, session: AsyncSession) -> None:
        """Write the deliveries of a SQLAlchemy transaction, for the jobs noted in its session."""
        jobs: list[Job] = session.info.pop(CHANGED_JOBS, [])
        ended_batches = list_ended_batches(jobs) | session.info.pop(ENDED_BATCHES, set())
        dialect = dialect_of(session)
        if jobs:
            query = text(_select_endpoints(dialect))
            owners = {job.job_id: job.user_id for job in jobs}
            endpoints = (await session.execute(query, _endpoint_parameters(owners))).all()
            if deliveries := self._build_deliveries(jobs, endpoints):
                await session.execute(text(INSERT_DELIVERY), deliveries)
        if not ended_batches:
            return

        async def insert(deliveries: list[Row]) -> None:
            await session.execute(text(INSERT_DELIVERY), deliveries)

        completed = await self._complete_batches(fetch_in(session), insert, dialect, ended_batches)
        session.info.setdefault(CHANGE_LOG, []).extend(batch.changed_row for batch in completed)
        event.listen(session.sync_session, "after_commit", lambda _: self.completed_batches.extend(completed))

    async def write_in_batch(
        self, connection: BatchConnection, dialect: Dialect, events: PendingEvents
    ) -> Sequence[CompletedBatch]:
        """Write the deliveries of a batch; return what belongs to `completed_batches` after the commit."""
        if not events.owners:
            return ()
        endpoints = await connection.fetch(_select_endpoints(dialect), _endpoint_parameters(events.owners))
        jobs = list(events.jobs)
        if job_ids := events.select_progress(endpoints):
            jobs += map(
                to_job, await connection.fetch(select_by_ids(dialect), {"jobs": to_json_array(job_ids)})
            )
        if deliveries := self._build_deliveries(jobs, endpoints):
            await connection.execute_many(INSERT_DELIVERY, deliveries)
        if not (ended_batches := list_ended_batches(events.jobs)):
            return ()
        insert = partial(connection.execute_many, INSERT_DELIVERY)
        completed = await self._complete_batches(connection.fetch, insert, dialect, ended_batches)
        connection.changed_rows.extend(batch.changed_row for batch in completed)
        return completed

    async def _complete_batches(
        self, fetch: Fetch, insert: InsertDeliveries, dialect: Dialect, batch_ids: set[str]
    ) -> Sequence[CompletedBatch]:
        """Complete the batches without active exports, and write their deliveries."""
        now = self._clock()
        completed = await complete_batches(fetch, dialect, batch_ids, now=now)
        if completed:
            users = to_json_array({batch.user_id for batch in completed})
            endpoints = await fetch(_select_endpoints(dialect), {"users": users, "jobs": "[]"})
            interested = [
                (batch, endpoint["endpoint_id"])
                for batch in completed
                for endpoint in endpoints
                if _wants_batch(endpoint, batch)
            ]
            if interested:
                await insert(
                    [notice_of_batch(batch, now).to_delivery(to, new_id(now)) for batch, to in interested]
                )
            for batch, endpoint_id in interested:
                self.written[batch.batch_id].add(endpoint_id)
        return completed

    def _build_deliveries(self, jobs: Sequence[Job], endpoints: EndpointRows) -> list[Row]:
        by_user: dict[str, list[str]] = defaultdict(list)
        by_job: dict[str, list[str]] = defaultdict(list)
        event_types: dict[str, list[str]] = {}
        filters: dict[str, ExportFilter] = {}
        for endpoint_id, user_id, job_id, events, export_filter in endpoints:
            (by_job[job_id] if job_id else by_user[user_id]).append(endpoint_id)
            event_types[endpoint_id] = events.split(",")
            if export_filter is not None:
                filters[endpoint_id] = decode_filter(export_filter)
        if not event_types:
            return []
        now = self._clock()
        deliveries: list[Row] = []
        for job in jobs:
            if job.was_edited_after_end:
                continue  # the end stays the last event: after it `export.progress` would look like a new run
            candidates = (*by_user[job.user_id], *by_job[job.job_id])
            if targets := [
                endpoint_id
                for endpoint_id in candidates
                if job.event_type in event_types[endpoint_id]
                and (endpoint_id not in filters or filters[endpoint_id].matches(job))
            ]:
                payload = build_payload(job, self._serializer, now)
                deliveries += [build_delivery(job, endpoint_id, payload, now) for endpoint_id in targets]
                self.written[job.job_id].update(targets)
        return deliveries


def build_payload(job: Job, serializer: JobSerializer, now: float) -> str:
    """Return the body of an event: its type, the time and the job."""
    return msgspec.json.encode(
        {"type": job.event_type, "timestamp": format_timestamp(now), "data": serializer.to_dict(job)}
    ).decode()


def build_delivery(job: Job, endpoint_id: str, payload: str, now: float) -> Row:
    """Return the parameters of `INSERT_DELIVERY`."""
    return {
        "delivery_id": new_id(now),
        "endpoint_id": endpoint_id,
        "user_id": job.user_id,
        "job_id": job.job_id,
        "sequence": job.sequence,
        "type": job.event_type.value,
        "payload": payload,
        "traceparent": job.traceparent,
        "request_id": job.request_id,
        "now": now,
    }


def _wants_batch(endpoint: Any, completed: CompletedBatch) -> bool:
    """Tell whether `batch.completed` is sent to an endpoint."""
    column = endpoint["export_filter"]
    shows_batch = column is None or decode_filter(column).matches_batch(completed.batch)
    is_of_user = endpoint["user_id"] == completed.user_id
    return is_of_user and shows_batch and WebhookEvent.BATCH_COMPLETED in endpoint["events"].split(",")


@cache
def _select_endpoints(dialect: Dialect) -> str:
    return _SELECT_ENDPOINTS.format(users=dialect.json_rows(":users"), jobs=dialect.json_rows(":jobs"))


def _endpoint_parameters(owners: Mapping[str, str]) -> Mapping[str, str]:
    return {"users": to_json_array(set(owners.values())), "jobs": to_json_array(owners)}
