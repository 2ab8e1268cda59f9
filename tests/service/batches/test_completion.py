"""A batch is complete once, when its last export has ended, in any order and by any kind of end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import insert, select

from callbacks.envelope import EventType
from infra.database.base import Database, dialect_of
from service.exports.erasure import forget_exports
from service.ingest.batch_writer import BatchWriter
from service.jobs import queries, transitions
from service.jobs.batches.completion import complete_batches
from service.jobs.batches.models import BATCHES
from service.jobs.batches.queries import fetch_in
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.queue.submissions import to_pending_job
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoints
from service.webhooks.models import DELIVERIES
from service.webhooks.outbox import Outbox
from tests.support.job_factory import FakeChanges, build_change, submission_for, write_changes

NOW = 1_700_000_000.0
USER = "ada"
End = Callable[["Replica", Job], Awaitable[object]]


@dataclass
class Replica:
    """What one replica ends exports with; the batches that it has completed."""

    database: Database
    outbox: Outbox = field(default_factory=lambda: Outbox(JobSerializer(""), lambda: NOW))

    def __post_init__(self) -> None:
        self.writer = BatchWriter(self.database, FakeChanges(), self.outbox)
        self.database.before_commit = self.outbox.write_in_session

    @property
    def completed(self) -> list[str]:
        return [completed.batch_id for completed in self.outbox.completed_batches]


async def submit_batch(database: Database, exports: int, batch_id: str = "batch_1") -> list[Job]:
    jobs = [
        to_pending_job(
            submission_for(new_id(NOW + index), USER, batch_id=batch_id),
            runner="local",
            attempt_limit=1,
            now=NOW,
        )
        for index in range(exports)
    ]
    row = {"batch_id": batch_id, "user_id": USER, "exports": exports, "created_at": NOW}
    async with database.transaction() as session:
        await session.execute(insert(BATCHES), row)
        await transitions.insert_all(session, jobs)
    return jobs


async def add_endpoint(database: Database) -> None:
    async with database.transaction() as session:
        await endpoints.create(session, endpoints.new_values(USER, "https://example.org/hook", now=NOW))


async def list_events(database: Database, batch_id: str = "batch_1") -> list[str]:
    """Return the events that were written for the batch itself."""
    async with database.reading() as session:
        query = select(DELIVERIES.c.type).where(DELIVERIES.c.job_id == batch_id)
        return list((await session.execute(query)).scalars())


async def complete(replica: Replica, job: Job) -> object:
    change = build_change(EventType.COMPLETED, job.job_id, 1, 9, now=NOW)
    return await write_changes(replica.writer, change, change)


async def fail(replica: Replica, job: Job) -> object:
    return await write_changes(replica.writer, build_change(EventType.FAILED, job.job_id, 1, 9, now=NOW))


async def cancel(replica: Replica, job: Job) -> object:
    async with replica.database.transaction() as session:
        return await transitions.cancel(session, USER, job.job_id, now=NOW)


async def purge(replica: Replica, job: Job) -> object:
    async with replica.database.transaction() as session:
        return await forget_exports(session, USER, [job.job_id], now=NOW)


async def expire(replica: Replica, job: Job) -> object:
    async with replica.database.transaction() as session:
        return await transitions.expire(session, job, "late", "Too late.", only_if_pending=False, now=NOW)


async def retry(replica: Replica, job: Job) -> object:
    async with replica.database.transaction() as session:
        return await transitions.retry(session, USER, job.job_id, attempts=1, now=NOW)


async def die(replica: Replica, job: Job) -> object:
    """End an export in a transaction that is never committed."""
    with suppress(ConnectionError):
        async with replica.database.transaction() as session:
            await transitions.cancel(session, USER, job.job_id, now=NOW)
            await replica.outbox.write_in_session(session)
            raise ConnectionError
    return None


ENDS: list[End] = [complete, fail, cancel, purge, expire]


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_of_ends_completes_a_batch_once(any_database: Database, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
    replica = Replica(any_database)
    await add_endpoint(any_database)
    jobs = await submit_batch(any_database, 6)
    acts = [(act, job) for job in jobs for act in (die, retry, *chance.choices(ENDS, k=2))]
    chance.shuffle(acts)
    for act, job in acts:
        await act(replica, job)
    async with any_database.reading() as session:
        active = await queries.list_active(session, USER)
    for job in active:
        await cancel(replica, job)
    for job in jobs:  # ends that are reported again
        await complete(replica, job)
    assert replica.completed == ["batch_1"]
    assert await list_events(any_database) == ["batch.completed"]


async def test_two_replicas_that_end_the_last_exports_together_complete_it_once(
    any_database: Database,
) -> None:
    replica = Replica(any_database)
    await add_endpoint(any_database)
    for number in range(8):
        batch_id = f"batch_{number}"
        first, second, third = await submit_batch(any_database, 3, batch_id)
        await asyncio.gather(complete(replica, first), cancel(replica, second), expire(replica, third))
        assert await list_events(any_database, batch_id) == ["batch.completed"]
    assert sorted(replica.completed) == [f"batch_{number}" for number in range(8)]


async def test_a_retry_after_the_end_completes_nothing_again(any_database: Database) -> None:
    replica = Replica(any_database)
    await add_endpoint(any_database)
    (job,) = await submit_batch(any_database, 1)
    await fail(replica, job)
    assert await retry(replica, job) is not None
    await cancel(replica, job)
    assert replica.completed == ["batch_1"]
    assert await list_events(any_database) == ["batch.completed"]


async def test_an_end_that_is_not_committed_completes_nothing(any_database: Database) -> None:
    replica = Replica(any_database)
    await add_endpoint(any_database)
    (job,) = await submit_batch(any_database, 1)
    await die(replica, job)
    assert (replica.completed, await list_events(any_database)) == ([], [])
    await cancel(replica, job)
    assert replica.completed == ["batch_1"]


@pytest.mark.parametrize("statements", range(4))
async def test_a_retry_that_commits_amid_a_completion_is_in_no_counts(
    postgresql_database: Database, statements: int
) -> None:
    replica = Replica(postgresql_database)
    first, second = await submit_batch(postgresql_database, 2)
    await fail(replica, first)
    seen: list[str] = []
    async with postgresql_database.transaction() as session:
        await transitions.cancel(session, USER, second.job_id, now=NOW)

        async def fetch(statement: str, values: Mapping[str, object]) -> Sequence[Any]:
            rows = await fetch_in(session)(statement, values)
            if len(seen) == statements:
                assert await retry(replica, first) is not None
            seen.append(statement)
            return rows

        completed = await complete_batches(fetch, dialect_of(session), ["batch_1"], now=NOW)
    assert [batch.data["counts"] for batch in completed] in ([], [{"cancelled": 1, "error": 1}])
    assert completed or statements < len(seen) - 1, "nothing came between, and it is not complete"
