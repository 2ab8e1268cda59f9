"""Group commit: pending changes are one transaction, and each caller gets the outcome of its change."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import hypothesis
import pytest
from hypothesis import strategies as st
from sqlalchemy import delete

from callbacks.envelope import EventType, Phase
from infra.database.base import BatchConnection, Database
from infra.database.factory import open_database
from infra.database.sqlite import SqliteDatabase
from service.costs.control import Cost
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Outcome, outcome_from
from service.jobs import models, transitions
from service.jobs.models import Job
from tests.support import job_factory
from tests.support.job_factory import Row

T = TypeVar("T")
NOW = 1_000.0


class Counting(SqliteDatabase):
    """A real database that counts its batches and fails some of them."""

    batches = 0
    failing = 0
    commit_allowed: asyncio.Event | None = None

    async def batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        self.batches += 1
        if self.commit_allowed is not None:
            await self.commit_allowed.wait()
        if self.failing:
            self.failing -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return await super().batch(work)


@pytest.fixture
async def counting(sqlite_url: str) -> Counting:
    return Counting(sqlite_url)


async def submit_jobs(database: Database, *job_ids: str) -> None:
    async with database.transaction() as session:
        for job_id in job_ids:
            await transitions.submit(
                session, job_factory.submission_for(job_id), runner="local", attempt_limit=2, now=NOW
            )


def tick(job_id: str, step: int, *, attempt: int = 1, progress: float = 50) -> Change:
    return job_factory.build_change(EventType.PROGRESS, job_id, attempt, step, now=NOW, progress=progress)


async def test_what_gathers_while_a_batch_is_written_goes_into_the_next_one(counting: Counting) -> None:
    await submit_jobs(counting, *(f"job-{number}" for number in range(20)))
    counting.commit_allowed = asyncio.Event()
    writer = BatchWriter(counting, job_factory.FakeChanges())
    loop = asyncio.create_task(writer.run())
    first = asyncio.ensure_future(writer.submit(tick("job-0", 1)))
    await _run_ready_tasks()
    rest = [asyncio.ensure_future(writer.submit(tick(f"job-{number}", 1))) for number in range(1, 20)]
    await _run_ready_tasks()
    assert writer.metrics.batch_size.count == 0
    counting.commit_allowed.set()
    assert all(isinstance(outcome, Applied) for outcome in await asyncio.gather(first, *rest))
    assert writer.metrics.batch_size.count == 2
    await _stop(loop)
    await counting.close()


async def test_a_tick_overtaken_in_its_batch_is_answered_with_the_sequence_of_the_newer_one(
    database: SqliteDatabase,
) -> None:
    await submit_jobs(database, "job-1")
    published: list[Job] = []
    changes = [tick("job-1", step, progress=step * 10) for step in (1, 3, 2)]
    outcomes = await job_factory.write_changes(
        BatchWriter(database, job_factory.FakeChanges(published.append)), *changes
    )
    assert [outcome.sequence for outcome in outcomes if isinstance(outcome, Applied)] == [2, 2, 2]
    assert [(job.sequence, job.progress) for job in published] == [(2, 30.0)]


async def test_an_end_is_never_overtaken(database: SqliteDatabase) -> None:
    await submit_jobs(database, "job-1")
    changes = [
        tick("job-1", 1),
        tick("job-1", 2),
        job_factory.build_change(EventType.COMPLETED, "job-1", 1, 3, now=NOW),
        tick("job-1", 4),
    ]
    outcomes = await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), *changes)
    row = (await job_factory.fetch_jobs(database))["job-1"]
    assert row["status"] == "complete"
    assert isinstance(outcomes[2], Applied)


async def test_nothing_is_published_before_it_is_committed_and_all_is_before_its_caller_goes_on(
    database: SqliteDatabase,
) -> None:
    await submit_jobs(database, "job-1")
    seen: list[str] = []

    def publish(job: Job) -> None:
        connection = sqlite3.connect(database.url.partition(":///")[2])
        (stored,) = connection.execute("SELECT sequence FROM export_jobs").fetchone()
        connection.close()
        seen.append(f"published {job.sequence} when {stored} was stored")

    writer = BatchWriter(database, job_factory.FakeChanges(publish))
    waiting = asyncio.ensure_future(writer.submit(tick("job-1", 1)))
    waiting.add_done_callback(lambda _: seen.append("answered"))
    await _run_ready_tasks()
    await writer.drain()
    await waiting
    await _run_ready_tasks()
    assert seen == ["published 2 when 2 was stored", "answered"]


async def test_a_batch_that_fails_tells_all_its_callers_and_the_next_one_is_written(
    counting: Counting,
) -> None:
    await submit_jobs(counting, "job-1", "job-2")
    writer = BatchWriter(counting, job_factory.FakeChanges())
    loop = asyncio.create_task(writer.run())
    counting.failing = 1
    futures = [asyncio.ensure_future(writer.submit(tick(job_id, 1))) for job_id in ("job-1", "job-2")]
    failures = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(failure) for failure in failures] == [sqlite3.OperationalError] * 2
    assert await asyncio.gather(writer.submit(tick("job-1", 1)), writer.submit(tick("job-2", 1)))
    assert not loop.done()
    await _stop(loop)
    await counting.close()


async def test_a_caller_that_goes_away_leaves_the_others_their_answers(counting: Counting) -> None:
    await submit_jobs(counting, "job-1", "job-2")
    counting.commit_allowed = asyncio.Event()
    writer = BatchWriter(counting, job_factory.FakeChanges())
    loop = asyncio.create_task(writer.run())
    cancelled = asyncio.ensure_future(writer.submit(tick("job-1", 1)))
    waiting = asyncio.ensure_future(writer.submit(tick("job-2", 1)))
    await _run_ready_tasks()
    cancelled.cancel()
    counting.commit_allowed.set()
    assert isinstance(await waiting, Applied)
    await _stop(loop)
    await counting.close()


async def test_what_waits_at_a_shutdown_is_still_committed(database: SqliteDatabase) -> None:
    await submit_jobs(database, "job-1")
    writer = BatchWriter(database, job_factory.FakeChanges())
    (outcome,) = await job_factory.write_changes(writer, tick("job-1", 1))
    job = transitions.to_job((await job_factory.fetch_jobs(database))["job-1"])
    assert outcome == outcome_from(job)


async def test_only_what_somebody_wants_is_read_and_published_once_as_it_stands(
    database: Database,
) -> None:
    await submit_jobs(database, "job-1", "job-2", "job-3")
    published: list[Job] = []
    writer = BatchWriter(
        database,
        job_factory.FakeChanges(
            published.append, is_wanted=lambda job_id, user_id: (job_id, user_id) == ("job-1", "ada")
        ),
    )
    await job_factory.write_changes(writer, *(tick(job_id, 1) for job_id in ("job-1", "job-2", "job-3")))
    published.clear()  # what began is a transition, which is in hand anyway

    changes = [tick("job-1", 2), tick("job-2", 2), tick("job-1", 3), tick("job-3", 2)]
    outcomes = await job_factory.write_changes(writer, *changes)

    whole = [Applied(3), *[Applied(3, "ada", cost=Cost(None, None, 0.0))] * 3]
    assert outcomes == whole
    assert published == [transitions.to_job((await job_factory.fetch_jobs(database))["job-1"])]


async def test_a_publisher_that_fails_leaves_no_caller_without_an_answer(database: SqliteDatabase) -> None:
    await submit_jobs(database, "job-1")

    def broken(_job: Job) -> None:
        raise RuntimeError("publishing is broken")

    writer = BatchWriter(database, job_factory.FakeChanges(broken))
    loop = asyncio.create_task(writer.run())
    async with asyncio.timeout(5):
        answer = await writer.submit(tick("job-1", 1))
    assert isinstance(answer, Applied)
    with pytest.raises(RuntimeError, match="publishing is broken"):
        await loop


steps = st.integers(1, 4)
generated_changes = st.tuples(
    st.sampled_from(["job-1", "job-1", "job-2", "unknown"]),
    st.sampled_from([EventType.PROGRESS, EventType.PROGRESS, EventType.STARTED, *EventType]).filter(
        lambda kind: kind is not EventType.CANCELLED
    ),
    st.sampled_from([1, 1, 1, 2]),
    st.sampled_from(["", "", "", "0a"]),
    steps,
    st.sampled_from([Phase.STARTING, Phase.PROCESSING]),
    st.booleans(),
)


@hypothesis.settings(max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    batches=st.lists(st.lists(generated_changes, min_size=1, max_size=6), min_size=1, max_size=3)
)
async def test_both_databases_make_the_same_of_any_batches(
    sqlite_url: str,
    postgresql_url: str,
    batches: list[list[tuple[str, EventType, int, str, int, Phase, bool]]],
) -> None:
    changes = [
        [
            job_factory.build_change(
                kind, job_id, attempt, step, run=run, phase=phase, transient=transient, now=NOW
            )
            for job_id, kind, attempt, run, step, phase, transient in batch
        ]
        for batch in batches
    ]
    assert await _result(postgresql_url, changes) == await _result(sqlite_url, changes)


async def _result(
    url: str, batches: Sequence[Sequence[Change]]
) -> tuple[list[list[Outcome]], dict[str, Row], list[Row]]:
    database = open_database(url)
    try:
        async with database.transaction() as session:
            await session.execute(delete(models.EVENTS))
            await session.execute(delete(models.JOBS))
        await submit_jobs(database, "job-1", "job-2")
        writer = BatchWriter(database, job_factory.FakeChanges())
        outcomes = [await job_factory.write_changes(writer, *batch) for batch in batches]
        events = await job_factory.fetch_events(database)
        timeline = sorted(events, key=lambda row: (str(row["job_id"]), int(str(row["sequence"]))))
        return outcomes, await job_factory.fetch_jobs(database), timeline
    finally:
        await database.close()


async def _run_ready_tasks() -> None:
    """Let all tasks run that are ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def _stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
