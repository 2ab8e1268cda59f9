"""The outbox: write deliveries in the transaction that changes a job.

Each endpoint that wants the event gets one. All three ways into the databases (SQLAlchemy, SQLite's driver, asyncpg)
use the same statements. Progress that was never sent is replaced in its row, so that an export that keeps reporting
leaves one row for an endpoint that does not respond.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.postgresql import to_positional
from service.jobs.ids import new_id
from service.jobs.models import COLUMNS, Job
from service.jobs.serializers import JobSerializer, format_timestamp
from service.jobs.transitions import CHANGED_JOBS, to_job
from service.webhooks.models import UNSENT_PROGRESS

# `each_…` turns a JSON array into rows; only the name of that function differs between the databases.
_SELECT_ENDPOINTS: Final = """
SELECT endpoint_id, user_id, job_id, events FROM webhook_endpoints
WHERE job_id IS NULL AND user_id IN (SELECT value FROM {each_user}) AND enabled
UNION ALL
SELECT endpoint_id, user_id, job_id, events FROM webhook_endpoints
WHERE job_id IN (SELECT value FROM {each_job}) AND enabled
"""
_SELECT_ENDPOINTS_SQLITE: Final = _SELECT_ENDPOINTS.format(
    each_user="json_each(:users)", each_job="json_each(:jobs)"
)
_SELECT_ENDPOINTS_POSTGRESQL: Final = _SELECT_ENDPOINTS.format(
    each_user="json_array_elements_text(CAST(:users AS json))",
    each_job="json_array_elements_text(CAST(:jobs AS json))",
)

_SELECT_JOBS: Final = f"SELECT {COLUMNS} FROM export_jobs WHERE job_id IN (SELECT value FROM {{each_job}})"  # noqa: S608
_SELECT_JOBS_SQLITE: Final = _SELECT_JOBS.format(each_job="json_each(:jobs)")
_SELECT_JOBS_POSTGRESQL: Final = _SELECT_JOBS.format(each_job="json_array_elements_text(CAST(:jobs AS json))")

INSERT_DELIVERY: Final = f"""
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, traceparent,
    state, tries, attempts, requested, next_at, scheduled_at, created_at)
VALUES (:delivery_id, :endpoint_id, :user_id, :job_id, :sequence, :type, :payload, :traceparent,
    'pending', 0, 0, false, :now, :now, :now)
ON CONFLICT (endpoint_id, job_id) WHERE {UNSENT_PROGRESS}
DO UPDATE SET sequence = excluded.sequence, payload = excluded.payload, created_at = excluded.created_at
    WHERE webhook_deliveries.sequence < excluded.sequence
"""  # noqa: S608 - constants only

_endpoints_positional, _endpoints_names = to_positional(_SELECT_ENDPOINTS_POSTGRESQL)
_jobs_positional, _ = to_positional(_SELECT_JOBS_POSTGRESQL)
_insert_positional, _insert_names = to_positional(INSERT_DELIVERY)

Row = dict[str, object]
EndpointRows = Sequence[Sequence[Any]]
"""Rows of endpoint_id, user_id, job_id and events."""


@dataclass(frozen=True)
class PendingEvents:
    """The jobs that a transaction has changed, and the owner of each by job id.

    `jobs` holds the jobs whose row the change returned. Those in `unread` made progress only; their rows are read
    only if an endpoint wants progress.
    """

    owners: Mapping[str, str]
    jobs: Sequence[Job]
    unread: Sequence[str] = ()

    def wanted_progress(self, endpoints: EndpointRows) -> list[str]:
        """Return the unread jobs whose progress an endpoint wants."""
        interested = {
            job_id or user_id
            for _, user_id, job_id, events in endpoints
            if EventType.PROGRESS in events.split(",")
        }
        return [job_id for job_id in self.unread if job_id in interested or self.owners[job_id] in interested]


class Outbox:
    """Write deliveries in the transactions of others.

    `dirty_job_ids` are the jobs with new deliveries. The delivery worker takes them out when it learns that the
    change of a job is committed; before the commit it would not see the deliveries.
    """

    def __init__(self, view: JobSerializer, clock: Callable[[], float] = time.time) -> None:
        self._view = view
        self._clock = clock
        self.dirty_job_ids: set[str] = set()

    async def write_in_session(self, session: AsyncSession) -> None:
        """Write the deliveries of a SQLAlchemy transaction, for the jobs noted in its session."""
        jobs: list[Job] = session.info.pop(CHANGED_JOBS, [])
        if not jobs:
            return
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        query = text(_SELECT_ENDPOINTS_SQLITE if is_sqlite else _SELECT_ENDPOINTS_POSTGRESQL)
        owners = {job.job_id: job.user_id for job in jobs}
        endpoints = (await session.execute(query, _endpoint_parameters(owners))).all()
        if deliveries := self._build_deliveries(jobs, endpoints):
            await session.execute(text(INSERT_DELIVERY), deliveries)

    def write_on_sqlite(self, connection: sqlite3.Connection, events: PendingEvents) -> None:
        """Write the deliveries of a batch on SQLite's own driver."""
        if not events.owners:
            return
        parameters = _endpoint_parameters(events.owners)
        endpoints = connection.execute(_SELECT_ENDPOINTS_SQLITE, parameters).fetchall()
        jobs = list(events.jobs)
        if job_ids := events.wanted_progress(endpoints):
            rows = connection.execute(_SELECT_JOBS_SQLITE, {"jobs": _to_json(job_ids)})
            jobs += [to_job(dict(zip(Job.__struct_fields__, row, strict=True))) for row in rows]
        if deliveries := self._build_deliveries(jobs, endpoints):
            connection.executemany(INSERT_DELIVERY, deliveries)

    async def write_on_postgresql(self, connection: Any, events: PendingEvents) -> None:
        """Write the deliveries of a batch on asyncpg."""
        if not events.owners:
            return
        parameters = _endpoint_parameters(events.owners)
        endpoints = await connection.fetch(
            _endpoints_positional, *(parameters[name] for name in _endpoints_names)
        )
        jobs = list(events.jobs)
        if job_ids := events.wanted_progress(endpoints):
            jobs += map(to_job, await connection.fetch(_jobs_positional, _to_json(job_ids)))
        if deliveries := self._build_deliveries(jobs, endpoints):
            rows = [[row[name] for name in _insert_names] for row in deliveries]
            await connection.executemany(_insert_positional, rows)

    def _build_deliveries(self, jobs: Sequence[Job], endpoints: EndpointRows) -> list[Row]:
        by_user: dict[str, list[str]] = defaultdict(list)
        by_job: dict[str, list[str]] = defaultdict(list)
        event_types: dict[str, list[str]] = {}
        for endpoint_id, user_id, job_id, events in endpoints:
            (by_job[job_id] if job_id else by_user[user_id]).append(endpoint_id)
            event_types[endpoint_id] = events.split(",")
        if not event_types:
            return []
        now = self._clock()
        deliveries: list[Row] = []
        for job in jobs:
            candidates = (*by_user[job.user_id], *by_job[job.job_id])
            if targets := [
                endpoint_id for endpoint_id in candidates if job.event_type in event_types[endpoint_id]
            ]:
                payload = build_payload(job, self._view, now)
                deliveries += [build_delivery(job, endpoint_id, payload, now) for endpoint_id in targets]
                self.dirty_job_ids.add(job.job_id)
        return deliveries


def build_payload(job: Job, view: JobSerializer, now: float) -> str:
    """Return the body of an event: its type, the time and the job."""
    return msgspec.json.encode(
        {"type": job.event_type, "timestamp": format_timestamp(now), "data": view.to_dict(job)}
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
        "now": now,
    }


def _endpoint_parameters(owners: Mapping[str, str]) -> Mapping[str, str]:
    return {"users": _to_json(list(set(owners.values()))), "jobs": _to_json(list(owners))}


def _to_json(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()
