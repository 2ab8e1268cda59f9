"""A timeline has 300 rows at most, however often phases change and an export is tried again."""

import pytest

from callbacks.envelope import EventType, Phase
from infra.postgresql import AnyDatabase
from service import jobs
from service.writer import Writer
from tests.service import changes
from tests.service.test_gpu_seconds import NOW, either

__all__ = ["either"]  # the fixture


async def flip(database: AnyDatabase, attempt: int, count: int) -> None:
    """Let a run change its phase so often."""
    phases = (Phase.PROCESSING, Phase.UPLOADING)
    flips = [
        changes.change(EventType.PROGRESS, "job-1", attempt, step, now=NOW, phase=phases[step % 2])
        for step in range(1, count + 1)
    ]
    for one in flips:
        await changes.written(Writer(database, changes.ignore), one)


async def test_phase_changes_leave_the_latest_rows_and_every_end(either: AnyDatabase) -> None:
    await flip(either, 1, 230)
    async with either.transaction() as session:
        assert await jobs.cancel(session, "ada", "job-1", now=NOW)
    async with either.transaction() as session:
        assert await jobs.retry(session, "ada", "job-1", attempts=3, now=NOW)
    await flip(either, 2, 230)
    told = await changes.events(either)
    ends = [row for row in told if row["status"] == "cancelled"]
    assert (len(told), len(ends)) == (201, 1)
    assert told[-1]["sequence"] == (await changes.rows(either))["job-1"]["sequence"]
    kept = [row["sequence"] for row in told if row["status"] != "cancelled"]
    assert kept == list(range(int(str(kept[0])), int(str(kept[-1])) + 1))


@pytest.mark.parametrize("count", [110])
async def test_retries_leave_the_latest_ends(either: AnyDatabase, count: int) -> None:
    for _ in range(count):
        async with either.transaction() as session:
            assert await jobs.cancel(session, "ada", "job-1", now=NOW)
        async with either.transaction() as session:
            assert await jobs.retry(session, "ada", "job-1", attempts=3, now=NOW)
    told = await changes.events(either)
    ends = [row["sequence"] for row in told if row["status"] == "cancelled"]
    assert len(ends) == 100
    assert len(told) <= 300
    assert ends[-1] == told[-2]["sequence"]
