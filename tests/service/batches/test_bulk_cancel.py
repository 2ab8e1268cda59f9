"""What the transaction that cancels many exports does beside others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.batches.models import BulkChange, Selection
from service.jobs import transitions
from service.jobs.models import JOBS
from tests.conftest import delete_all_rows, open_empty_database
from tests.service.batches.test_completion import NOW, USER, submit_batch
from tests.support.app_harness import AppHarness
from tests.support.job_factory import fetch_events, fetch_jobs


async def test_active_exports_are_cancelled_with_a_timeline_each(any_database: Database) -> None:
    jobs = await submit_batch(any_database, 5)
    async with any_database.transaction() as session:
        await transitions.cancel(session, USER, jobs[0].job_id, now=NOW + 1)
    async with any_database.transaction() as session:
        ids = [job.job_id for job in jobs]
        cancelled = await transitions.cancel_all(session, USER, ids, now=NOW + 2)
        assert await transitions.cancel_all(session, "bob", ids, now=NOW + 2) == []
    assert {job.job_id for job in cancelled} == set(ids[1:])
    rows = await fetch_jobs(any_database)
    assert [rows[job_id]["completed_at"] for job_id in ids] == [NOW + 1, *[NOW + 2] * 4]
    ends = [event["job_id"] for event in await fetch_events(any_database) if event["status"] == "cancelled"]
    assert sorted(map(str, ends)) == sorted(ids)


async def test_a_locked_export_is_left_out_instead_of_waited_for(postgresql_url: str) -> None:
    postgresql = await open_empty_database(postgresql_url)
    first, second = await submit_batch(postgresql, 2)
    async with postgresql.transaction() as holder:
        await holder.execute(JOBS.update().where(JOBS.c.job_id == first.job_id).values(message="locked"))
        async with postgresql.transaction() as session:
            ids = [first.job_id, second.job_id]
            cancelled = await transitions.cancel_all(session, USER, ids, now=NOW)
    assert [job.job_id for job in cancelled] == [second.job_id]
    await postgresql.close()
    await delete_all_rows(postgresql_url)


class RacingDatabase:
    """The database of the service, in which something happens after each read."""

    def __init__(self, database: Database, act: Callable[[], Awaitable[Any]]) -> None:
        self._database = database
        self._act = act

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        async with self._database.reading() as session:
            yield session
        await self._act()

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._database.transaction()


async def test_an_export_that_is_erased_meanwhile_keeps_none_from_being_cancelled(app: AppHarness) -> None:
    erased, other = [await app.submit_export() for _ in range(2)]

    async def erase() -> None:
        assert (await app.client.delete(f"/api/exports/{erased['job_id']}?purge=true")).status_code == 204

    bulk = app.state["batches"].bulk
    racing = replace(bulk, database=cast(Database, RacingDatabase(app.database, erase)))
    ids = [erased["job_id"], other["job_id"]]
    assert await racing.cancel("local", Selection(ids=ids)) == BulkChange(2, 1, None)
    assert (await app.fetch_row(other["job_id"]))["status"] == "cancelled"
