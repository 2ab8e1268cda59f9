"""A run is quick: its first report may be committed while the service stores that it has started the call."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from infra.database.base import Database
from service.jobs import leases, transitions
from service.jobs.models import Status
from tests.conftest import delete_all_rows, open_empty_database
from tests.support import job_factory
from tests.support.service_process import wait_until

NOW = 1_000.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE export_jobs%'"
REPORT = text(
    """UPDATE export_jobs SET status = 'processing', phase = 'starting', sequence = sequence + 1, run = 'first',
    step = 1, reported_call_id = :call_id, gpu_seconds = 0.5"""
)


@pytest.fixture
async def database(postgresql_url: str) -> AsyncIterator[Database]:
    """One on which a statement sees what others have committed since the transaction began."""
    database = await open_empty_database(postgresql_url)
    yield database
    await database.close()
    await delete_all_rows(postgresql_url)


@pytest.mark.parametrize(
    ("call_id", "status", "seconds"),
    [("call-1", Status.PROCESSING, 0.5), ("another", Status.PENDING, 0.0)],
    ids=["of this call", "of a call that no row names"],
)
async def test_a_report_that_is_committed_meanwhile_is_kept_if_it_is_of_this_call(
    database: Database, call_id: str, status: Status, seconds: float
) -> None:
    async with database.transaction() as session:
        submission = job_factory.submission_for("job-1")
        job = await transitions.submit(session, submission, runner="local", attempt_limit=1, now=NOW)

    async def store_call() -> object:
        async with database.transaction() as session:
            return await leases.record_spawn(session, job, "call-1", now=NOW)

    async def is_waiting() -> bool:
        async with database.reading() as session:
            return bool((await session.execute(text(WAITING))).scalar_one())

    async with database.transaction() as session:
        await session.execute(REPORT, {"call_id": call_id})
        storing = asyncio.create_task(store_call())
        await wait_until(is_waiting)
    assert await storing is not None
    row = (await job_factory.fetch_jobs(database))["job-1"]
    assert (row["call_id"], row["status"], row["gpu_seconds"]) == ("call-1", status, seconds)
