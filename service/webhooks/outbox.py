"""The outbox: with whatever changes a job, in one transaction, go deliveries to all endpoints that want the event.

The same statements for all three roads into the databases. Progress that was not sent yet is replaced where it
lies, so that an export that reports all the time leaves one row for an endpoint that does not answer.
"""

import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.postgresql import to_positional
from service.jobs.ids import new_id
from service.jobs.models import COLUMNS, Job
from service.jobs.serializers import JobSerializer, format_timestamp
from service.jobs.transitions import CHANGED_JOBS, to_job
from service.webhooks.models import UNTRIED_PROGRESS

# `each` spells a JSON array as rows: the two databases have other names for that, and for nothing else here.
_WHO = """
SELECT endpoint_id, user_id, job_id, events FROM webhook_endpoints
WHERE job_id IS NULL AND user_id IN (SELECT value FROM {each_user}) AND enabled
UNION ALL
SELECT endpoint_id, user_id, job_id, events FROM webhook_endpoints
WHERE job_id IN (SELECT value FROM {each_job}) AND enabled
"""
_WHO_SQLITE = _WHO.format(each_user="json_each(:users)", each_job="json_each(:jobs)")
_WHO_POSTGRESQL = _WHO.format(
    each_user="json_array_elements_text(CAST(:users AS json))",
    each_job="json_array_elements_text(CAST(:jobs AS json))",
)

_STANDING = f"SELECT {COLUMNS} FROM export_jobs WHERE job_id IN (SELECT value FROM {{each_job}})"  # noqa: S608
_STANDING_SQLITE = _STANDING.format(each_job="json_each(:jobs)")
_STANDING_POSTGRESQL = _STANDING.format(each_job="json_array_elements_text(CAST(:jobs AS json))")

INSERT_DELIVERY = f"""
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, traceparent,
    state, tries, attempts, requested, next_at, scheduled_at, created_at)
VALUES (:delivery_id, :endpoint_id, :user_id, :job_id, :sequence, :type, :payload, :traceparent,
    'pending', 0, 0, false, :now, :now, :now)
ON CONFLICT (endpoint_id, job_id) WHERE {UNTRIED_PROGRESS}
DO UPDATE SET sequence = excluded.sequence, payload = excluded.payload, created_at = excluded.created_at
    WHERE webhook_deliveries.sequence < excluded.sequence
"""  # noqa: S608 - made of constants

_who_positional, _who_names = to_positional(_WHO_POSTGRESQL)
_standing_positional, _ = to_positional(_STANDING_POSTGRESQL)
_record_positional, _record_names = to_positional(INSERT_DELIVERY)

Row = dict[str, object]
Who = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class PendingEvents:
    """The jobs that a transaction has changed: whose they are, by id, and how they stand.

    Transitions are in hand; the jobs in `unread` have moved on since, and are read only for those who want to know.
    """

    owners: Mapping[str, str]
    jobs: Sequence[Job]
    unread: Sequence[str] = ()

    def wanted(self, who: Who) -> list[str]:
        """Of the unread ones those whose progress some endpoint wants to hear of."""
        told = {
            job_id or user_id for _, user_id, job_id, events in who if EventType.PROGRESS in events.split(",")
        }
        return [job_id for job_id in self.unread if job_id in told or self.owners[job_id] in told]


class Outbox:
    """Writes deliveries within the transactions of others; `dirty_job_ids` are the jobs that there are new ones of.

    Whoever hears that a job's change is committed takes it from there: looking earlier would find nothing.
    """

    def __init__(self, view: JobSerializer, clock: Callable[[], float] = time.time) -> None:
        self._view = view
        self._clock = clock
        self.dirty_job_ids: set[str] = set()

    async def write_in_session(self, session: AsyncSession) -> None:
        """For transactions over SQLAlchemy: the jobs that these have noted are told of."""
        moved: list[Job] = session.info.pop(CHANGED_JOBS, [])
        if not moved:
            return
        sqlite = session.get_bind().dialect.name == "sqlite"
        asked = text(_WHO_SQLITE if sqlite else _WHO_POSTGRESQL)
        owners = {job.job_id: job.user_id for job in moved}
        who = (await session.execute(asked, _concerned(owners))).all()
        if deliveries := self._deliveries(moved, who):
            await session.execute(text(INSERT_DELIVERY), deliveries)

    def write_on_sqlite(self, connection: sqlite3.Connection, untold: PendingEvents) -> None:
        """For batches over SQLite's own driver."""
        who = connection.execute(_WHO_SQLITE, _concerned(untold.owners)).fetchall() if untold.owners else []
        moved = list(untold.jobs)
        if wanted := untold.wanted(who):
            rows = connection.execute(_STANDING_SQLITE, {"jobs": _json(wanted)})
            moved += [to_job(dict(zip(Job.__struct_fields__, row, strict=True))) for row in rows]
        if deliveries := self._deliveries(moved, who):
            connection.executemany(INSERT_DELIVERY, deliveries)

    async def write_on_postgresql(self, connection: Any, untold: PendingEvents) -> None:
        """For batches over asyncpg."""
        if not untold.owners:
            return
        concerned = _concerned(untold.owners)
        who = await connection.fetch(_who_positional, *(concerned[name] for name in _who_names))
        moved = list(untold.jobs)
        if wanted := untold.wanted(who):
            moved += map(to_job, await connection.fetch(_standing_positional, _json(wanted)))
        if deliveries := self._deliveries(moved, who):
            rows = [[row[name] for name in _record_names] for row in deliveries]
            await connection.executemany(_record_positional, rows)

    def _deliveries(self, moved: Sequence[Job], who: Who) -> list[Row]:
        of_user: dict[str, list[str]] = defaultdict(list)
        of_job: dict[str, list[str]] = defaultdict(list)
        wants: dict[str, list[str]] = {}
        for endpoint_id, user_id, job_id, events in who:
            (of_job[job_id] if job_id else of_user[user_id]).append(endpoint_id)
            wants[endpoint_id] = events.split(",")
        if not wants:
            return []
        now = self._clock()
        found: list[Row] = []
        for job in moved:
            concerned = (*of_user[job.user_id], *of_job[job.job_id])
            if told := [one for one in concerned if job.event_type in wants[one]]:
                payload = build_payload(job, self._view, now)
                found += [build_delivery(job, one, payload, now) for one in told]
                self.dirty_job_ids.add(job.job_id)
        return found


def build_payload(job: Job, view: JobSerializer, now: float) -> str:
    """The envelope that tells of a job as it stands."""
    return msgspec.json.encode(
        {"type": job.event_type, "timestamp": format_timestamp(now), "data": view.to_dict(job)}
    ).decode()


def build_delivery(job: Job, endpoint_id: str, payload: str, now: float) -> Row:
    """What `INSERT_DELIVERY` takes."""
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


def _concerned(owners: Mapping[str, str]) -> Mapping[str, str]:
    return {"users": _json(list(set(owners.values()))), "jobs": _json(list(owners))}


def _json(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()
