"""What the service asks of its database again and again, without the network: each is timed at several sizes."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType, Phase, Report
from infra.database.base import Database
from service.costs.days import day_of
from service.costs.usage_report import GroupBy, Period, read_groups
from service.fanout.initial_states import InitialStatesReader
from service.ingest import store
from service.ingest.changes import Applied, Change
from service.jobs import leases, queries
from service.jobs.batches import queries as batch_queries
from service.jobs.filters import ExportFilter
from service.jobs.models import Status
from service.jobs.queue.head import read_head
from service.jobs.serializers import JobSerializer
from service.webhooks import deliveries
from service.webhooks.deliveries import FinishedAttempt
from service.webhooks.outbox import Outbox
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.due_query import find_ready, select_due
from tests.bench.growth.history import DUE

USER = "user-3"
PLACES = 8


@dataclass
class Subject:
    """One database under measurement, and how far its jobs have come."""

    database: Database
    outbox: Outbox = field(default_factory=lambda: Outbox(JobSerializer("http://127.0.0.1")))
    step: int = 0


Question = Callable[[Subject], Awaitable[object]]


def write_callbacks(count: int) -> Question:
    """Apply progress callbacks, each of another job, in one transaction."""

    async def write(subject: Subject) -> None:
        subject.step += 1
        changes = [_build_tick(2 * number, subject.step) for number in range(1, count + 1)]
        outcomes = await store.write(subject.database, changes, subject.outbox)
        assert all(isinstance(outcome, Applied) for outcome in outcomes)

    return write


def _build_tick(number: int, step: int) -> Change:
    report = Report(
        job_id=f"active-{number:012d}",
        attempt=1,
        step=step,
        call_id=f"fc-{number}",
        phase=Phase.PROCESSING,
        progress=50,
        message="Frame 120 of 240",
    )
    return Change(EventType.PROGRESS, report, time.time())


class Undo(Exception):
    """Ends a transaction without a commit."""


@asynccontextmanager
async def open_undone_transaction(database: Database) -> AsyncIterator[AsyncSession]:
    """Open a transaction that is rolled back at its end, so that every repetition finds the same rows."""
    with suppress(Undo):
        async with database.transaction() as session:
            yield session
            raise Undo


async def claim_jobs(subject: Subject) -> None:
    """Lease as many waiting jobs as a dispatcher would."""
    async with open_undone_transaction(subject.database) as session:
        rows = await leases.claim(session, slots=PLACES, per_user=20, lease_seconds=30, now=time.time())
        assert len(rows) == PLACES


async def watch_runs(subject: Subject) -> None:
    """Run what every replica queries every few seconds."""
    async with subject.database.transaction() as session:
        await leases.list_watched(session)
        await leases.end_long_pauses(session, now=time.time())
        await leases.list_unchanged(session, [])


async def deliver_webhooks(subject: Subject) -> None:
    """Do what a scan and a round of the delivery worker do with their database."""
    now = time.time() + 1
    async with open_undone_transaction(subject.database) as session:
        endpoint_ids = await find_ready(session, now=now)
        backlogs = await select_due(session, endpoint_ids=endpoint_ids, each=DUE, in_flight_here=[], now=now)
        ids = [delivery_id for backlog in backlogs for delivery_id in backlog.due]
        await deliveries.supersede_stale(session, ids, now=now)
        claimed = await deliveries.claim(session, ids, lease_seconds=60, now=now)
        finished = [FinishedAttempt(item.delivery, AttemptResult(0.1, status=204)) for item in claimed]
        assert len(finished) == DUE
        await deliveries.record_results(session, finished, random=lambda: 0.5, now=now)


def open_stream(since: Callable[[], float | None]) -> Question:
    """Load the states that a stream of all exports of a user begins with."""

    async def read(subject: Subject) -> None:
        reader = InitialStatesReader(subject.database, JobSerializer("http://127.0.0.1"))
        await reader.read(USER, since())

    return read


def read(ask: Callable[..., Awaitable[object]], *arguments: object, **options: object) -> Question:
    async def question(subject: Subject) -> None:
        async with subject.database.reading() as session:
            await ask(session, *arguments, **options)

    return question


async def read_batch(session: AsyncSession) -> None:
    """Read what a batch adds up to."""
    batch = await batch_queries.get_batch(session, USER, BATCH)
    assert batch is not None
    await batch_queries.add_totals(session, [batch])


BATCH = f"{USER}-batch-0"
MONTH = Period(day_of(time.time()) - 29, day_of(time.time()), USER)
IN_PROJECT = ExportFilter(project_id="project-3")
OF_CUP = ExportFilter(metadata=(("league", "cup"),))
OF_ANOTHER = ExportFilter(metadata=(("league", "other"),))
FAILED = ExportFilter(frozenset({Status.ERROR}))

QUESTIONS: dict[str, tuple[Question, int]] = {
    "callback, alone": (write_callbacks(1), 1),
    "callback, in a batch of 64": (write_callbacks(64), 64),
    "active list": (read(queries.list_active, USER), 1),
    "first page": (read(queries.list_page, USER, before=None, limit=50), 1),
    "first page of a project": (read(queries.list_page, USER, IN_PROJECT, before=None, limit=50), 1),
    "first page of a status that none has": (read(queries.list_page, USER, FAILED, before=None, limit=50), 1),
    "first page by metadata": (read(queries.list_page, USER, OF_CUP, before=None, limit=50), 1),
    "first page by metadata that none has": (
        read(queries.list_page, USER, OF_ANOTHER, before=None, limit=50),
        1,
    ),
    "totals of a batch": (read(read_batch), 1),
    "head of the queue": (read(read_head, priority_seconds=600, now=time.time()), 1),
    "usage of a month": (read(read_groups, MONTH, GroupBy.DAY), 1),
    "unacknowledged": (read(queries.list_unacknowledged, "user-1"), 1),
    "quota of a user": (read(queries.count_active, USER), 1),
    f"claim of {PLACES}": (claim_jobs, 1),
    "check for silent attempts": (watch_runs, 1),
    "stream opens": (open_stream(lambda: None), 1),
    "stream opens again after a minute": (open_stream(lambda: time.time() - 60), 1),
    f"delivery, of {DUE} that are due": (deliver_webhooks, DUE),
}
"""Each with the number of units that it is a cost of."""
