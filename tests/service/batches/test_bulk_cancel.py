"""What the transaction that cancels many exports does beside others."""

from infra.database.base import Database
from service.jobs import transitions
from service.jobs.models import JOBS
from tests.conftest import delete_all_rows, open_empty_database
from tests.service.batches.test_completion import NOW, USER, submit_batch
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
