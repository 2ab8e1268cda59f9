"""A timeline has 300 rows at most, however often phases change and an export is tried again."""

import pytest

from callbacks.envelope import EventType, Phase
from infra.database.base import Database
from service.ingest.batch_writer import BatchWriter
from service.jobs import transitions
from tests.service.jobs.test_gpu_seconds import NOW, either
from tests.support import job_factory

__all__ = ["either"]  # the fixture


async def flip(database: Database, attempt: int, count: int) -> None:
    """Let a run change its phase `count` times."""
    phases = (Phase.PROCESSING, Phase.UPLOADING)
    flips = [
        job_factory.build_change(EventType.PROGRESS, "job-1", attempt, step, now=NOW, phase=phases[step % 2])
        for step in range(1, count + 1)
    ]
    for change in flips:
        await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), change)


async def test_phase_changes_leave_the_latest_rows_and_every_end(either: Database) -> None:
    await flip(either, 1, 230)
    async with either.transaction() as session:
        assert await transitions.cancel(session, "ada", "job-1", now=NOW)
    async with either.transaction() as session:
        assert await transitions.retry(session, "ada", "job-1", attempts=3, now=NOW)
    await flip(either, 2, 230)
    rows = await job_factory.fetch_events(either)
    ends = [row for row in rows if row["status"] == "cancelled"]
    assert (len(rows), len(ends)) == (201, 1)
    assert rows[-1]["sequence"] == (await job_factory.fetch_jobs(either))["job-1"]["sequence"]
    kept = [row["sequence"] for row in rows if row["status"] != "cancelled"]
    assert kept == list(range(int(str(kept[0])), int(str(kept[-1])) + 1))


@pytest.mark.parametrize("count", [110])
async def test_retries_leave_the_latest_ends(either: Database, count: int) -> None:
    for _ in range(count):
        async with either.transaction() as session:
            assert await transitions.cancel(session, "ada", "job-1", now=NOW)
        async with either.transaction() as session:
            assert await transitions.retry(session, "ada", "job-1", attempts=3, now=NOW)
    rows = await job_factory.fetch_events(either)
    ends = [row["sequence"] for row in rows if row["status"] == "cancelled"]
    assert len(ends) == 100
    assert len(rows) <= 300
    assert ends[-1] == rows[-2]["sequence"]
