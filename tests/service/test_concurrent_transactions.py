"""What two transactions do on PostgreSQL that run at the same time: no deadlock, and nothing is lost or left out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import select, text, update

from callbacks.envelope import EventType
from infra.database.base import Database
from service.costs import holds
from service.exports.erasure import forget_exports
from service.ingest import store
from service.ingest.sql import FAIL
from service.jobs import queries, transitions
from service.jobs.ids import new_id
from service.jobs.models import JOBS, Job
from service.jobs.queue.submissions import to_pending_job
from service.jobs.serializers import JobSerializer
from service.retention import Retention, RetentionTask
from service.webhooks import endpoints, recovery
from service.webhooks.models import DELIVERIES
from service.webhooks.rehearsal.events import Rehearsal, create_test_deliveries
from tests.support.job_factory import build_change, submission_for

NOW = 1_700_000_000.0
USER = "ada"
DAY = 86_400.0


async def submit(database: Database, count: int) -> list[Job]:
    jobs = [
        to_pending_job(submission_for(new_id(NOW + index), USER), runner="local", attempt_limit=1, now=NOW)
        for index in range(count)
    ]
    async with database.transaction() as session:
        await transitions.insert_all(session, jobs)
    return jobs


async def wait_until_blocked(database: Database, count: int = 1) -> None:
    """Wait until this many statements wait for a lock."""
    for _ in range(200):
        async with database.reading() as session:
            waiting = await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        if waiting >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing waits")


async def test_a_list_of_recent_exports_has_one_that_is_retried_meanwhile(
    postgresql_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = await submit(postgresql_database, 1)
    async with postgresql_database.transaction() as session:
        await transitions.cancel(session, USER, job.job_id, now=NOW)
    list_for_user = queries.list_for_user

    async def retry_first(*args: Any, **options: Any) -> list[Job]:
        async with postgresql_database.transaction() as other:
            assert await transitions.retry(other, USER, job.job_id, attempts=1, now=NOW + 1)
        return await list_for_user(*args, **options)

    monkeypatch.setattr(queries, "list_for_user", retry_first)
    async with postgresql_database.reading() as session:
        listed = await queries.list_recent(session, USER, since=NOW - 60)
    assert [it.job_id for it in listed] == [job.job_id]


async def test_the_retention_keeps_a_delivery_that_is_just_sent_again(postgresql_database: Database) -> None:
    old = NOW - 40 * DAY
    async with postgresql_database.transaction() as session:
        endpoint = await endpoints.create(
            session, endpoints.new_values(USER, "https://example.org/", now=old)
        )
        delivery = await create_test_deliveries(session, endpoint, Rehearsal(), JobSerializer(""), now=old)
        await session.execute(update(DELIVERIES).values(state="failed", ended_at=old))
    retention = RetentionTask(postgresql_database, Retention(events_seconds=30 * DAY))
    async with postgresql_database.transaction() as session:
        assert await recovery.redeliver(session, delivery, now=NOW)
        sweep = asyncio.ensure_future(retention.delete_expired(now=NOW))
        await wait_until_blocked(postgresql_database)
    await sweep
    async with postgresql_database.reading() as session:
        assert (await session.execute(select(DELIVERIES.c.state))).scalars().all() == ["pending"]


class SlowDatabase:
    """Calls `before_end` before a batch ends its first export."""

    def __init__(self, database: Database, before_end: Callable[[], Awaitable[None]]) -> None:
        self.dialect = database.dialect
        self._database = database
        self._before_end: Callable[[], Awaitable[None]] | None = before_end

    async def batch(self, work: Any) -> Any:
        async def run(connection: Any) -> Any:
            fetch = connection.fetch

            async def fetch_late(statement: str, values: Mapping[str, object] | None = None) -> Sequence[Any]:
                if statement == FAIL and self._before_end is not None:
                    before_end, self._before_end = self._before_end, None
                    await before_end()
                rows: Sequence[Any] = await fetch(statement, values)
                return rows

            connection.fetch = fetch_late
            return await work(connection)

        return await self._database.batch(run)


async def test_a_batch_of_callbacks_and_a_purge_lock_exports_in_one_order(
    postgresql_database: Database,
) -> None:
    first, second = await submit(postgresql_database, 2)
    purges: list[asyncio.Task[Any]] = []

    async def purge() -> Any:
        async with postgresql_database.transaction() as session:
            return await forget_exports(session, USER, [first.job_id, second.job_id], now=NOW)

    changes = [
        build_change(EventType.STARTED, second.job_id, 1, 1, now=NOW),
        build_change(EventType.FAILED, first.job_id, 1, 9, now=NOW),
    ]

    async def start_purge() -> None:
        purges.append(asyncio.ensure_future(purge()))
        await wait_until_blocked(postgresql_database)

    slow: Any = SlowDatabase(postgresql_database, start_purge)
    await store.write(slow, changes)
    erased, _ = await purges[0]
    assert len(erased) == 2


async def test_a_hold_for_a_budget_locks_all_of_its_exports_at_once(
    postgresql_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await submit(postgresql_database, 2)
    others: list[asyncio.Task[None]] = []
    annotate: Any = holds.annotate  # type: ignore[attr-defined]

    async def lock_in_other_order(locked_id: str) -> None:
        async with postgresql_database.transaction() as session:
            for job in sorted(jobs, key=lambda job: job.job_id == locked_id):
                await session.execute(select(JOBS).where(JOBS.c.job_id == job.job_id).with_for_update())

    async def annotate_slowly(session: Any, *args: Any) -> Any:
        job = await annotate(session, *args)
        if not others:
            others.append(asyncio.create_task(lock_in_other_order(job.job_id)))
            await wait_until_blocked(postgresql_database)
        return job

    monkeypatch.setattr(holds, "annotate", annotate_slowly)
    async with postgresql_database.transaction() as session:
        held = await holds.hold(session, [USER], lambda _: "used up", until=NOW + DAY)
    await asyncio.gather(*others)
    assert len(held) == len(jobs)
