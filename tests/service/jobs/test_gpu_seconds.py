"""An export's GPU seconds contain each run of each attempt once, however the run ended."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import delete, update

from callbacks.envelope import EventType
from infra.database.base import Database
from infra.database.factory import open_database
from service.dispatch.runners import Failed, Finished
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import change_from_result
from service.jobs import finalize_leases, models, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import Charge
from service.metrics import export_log
from service.metrics.exports import ExportMetrics
from tests.service.dispatch.test_dispatcher import set_back, wait_for_state
from tests.support import job_factory
from tests.support.app_harness import AppHarness

NOW = 1_000.0


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request: pytest.FixtureRequest, sqlite_url: str) -> AsyncIterator[Database]:
    url = sqlite_url if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    database = open_database(url)
    async with database.transaction() as session:
        await session.execute(delete(models.EVENTS))
        await session.execute(delete(models.JOBS))
        await transitions.submit(
            session, job_factory.submission_for("job-1"), runner="local", attempt_limit=9, now=NOW
        )
    yield database
    await database.close()


async def job_in(database: Database) -> Job:
    return transitions.to_job((await job_factory.fetch_jobs(database))["job-1"])


async def report(
    database: Database, kind: EventType, attempt: int, step: int, seconds: float | None, **more: Any
) -> float:
    """Report these GPU seconds; return the seconds of the export afterwards."""
    change = job_factory.build_change(kind, "job-1", attempt, step, now=NOW, gpu_seconds=seconds, **more)
    await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), change)
    return (await job_in(database)).gpu_seconds


async def set_price(database: Database, **values: float) -> None:
    """Set what a second of the present attempt costs, as its claim does."""
    async with database.transaction() as session:
        await session.execute(update(models.JOBS).values(usd_per_second=0.5, **values))


async def test_the_seconds_of_all_runs_and_attempts_add_up(either: Database) -> None:
    tick, failed = EventType.PROGRESS, EventType.FAILED
    assert await report(either, tick, 1, 1, 3.0, run="1a") == 3
    assert await report(either, tick, 1, 2, 5.0, run="1a") == 5
    assert await report(either, tick, 1, 3, None, run="1a") == 5
    assert await report(either, tick, 1, 1, 1.0, run="2b") == 6, "another run of the same attempt"
    assert await report(either, failed, 1, 2, 2.0, run="2b", transient=True) == 7
    assert await report(either, tick, 2, 1, 4.0) == 11
    async with either.transaction() as session:
        lost = await job_in(either)
        assert await transitions.requeue(
            session, lost, "Lost.", reason="run_lost", charge=Charge.FAILURE, not_before=0, now=NOW
        )
    assert await report(either, tick, 3, 1, 6.0) == 17
    async with either.transaction() as session:
        assert await transitions.cancel(session, "ada", "job-1", now=NOW)
    async with either.transaction() as session:
        assert await transitions.retry(session, "ada", "job-1", attempts=3, now=NOW)
    assert await report(either, EventType.COMPLETED, 4, 1, 7.0) == 24


async def test_after_a_retry_an_end_counts_all_runs_since_the_end_before(
    either: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await set_price(either, cost_usd=0.0)
    await report(either, EventType.FAILED, 1, 1, 3.0, run="1a", transient=True)
    await set_price(either)
    await report(either, EventType.FAILED, 2, 1, 4.0, run="2a")
    first = await job_in(either)
    assert (first.status, first.new_gpu_seconds, first.new_usd) == ("error", 7.0, 3.5)
    async with either.transaction() as session:
        assert await transitions.retry(session, "ada", "job-1", attempts=3, now=NOW)
    retried = await job_in(either)
    assert (retried.new_gpu_seconds, retried.new_usd) == (0.0, 0.0)
    await set_price(either)
    await report(either, EventType.PROGRESS, 3, 1, 1.0, run="3a")
    await report(either, EventType.FAILED, 3, 1, 2.0, run="3b", transient=True)
    await set_price(either)
    await report(either, EventType.FAILED, 4, 1, 5.0, run="4a")
    last = await job_in(either)
    assert (last.gpu_seconds, last.new_gpu_seconds, last.new_usd) == (15.0, 8.0, 4.0)
    with caplog.at_level(logging.INFO, "framehook"):
        export_log.log_end(last, {})
    fields: Any = caplog.records[-1].__dict__["fields"]
    assert (fields["gpu_seconds"], fields["cost_usd"]) == (8.0, 4.0)
    metrics = ExportMetrics()
    metrics.observe_end(last, {})
    ((seconds,), (usd,)) = [
        [
            sample.value
            for family in metric.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        ]
        for metric in (metrics.gpu_seconds, metrics.cost)
    ]
    assert (seconds, usd) == (8.0, 4.0)


async def test_seconds_never_fall_and_are_not_counted_twice(either: Database) -> None:
    assert await report(either, EventType.PROGRESS, 1, 1, 3.0) == 3
    assert await report(either, EventType.PROGRESS, 1, 2, 2.0) == 3
    assert await report(either, EventType.PROGRESS, 1, 2, 9.0) == 3, "a step that is known already"
    job = await job_in(either)
    assert await report(either, EventType.COMPLETED, 1, 3, 4.0) == 4
    value = change_from_result(job, job_factory.VALID_OUTPUT, 4.5, now=NOW)
    await job_factory.write_changes(BatchWriter(either, job_factory.FakeChanges()), value)
    assert (await job_in(either)).gpu_seconds == 4


async def test_a_run_that_only_its_output_told_of_is_counted_beside_the_one_before(
    either: Database,
) -> None:
    assert await report(either, EventType.PROGRESS, 1, 5, 3.0, run="1a") == 3
    done = job_factory.build_change(EventType.COMPLETED, "job-1", 1, 2, now=NOW, run="2b", gpu_seconds=4.0)
    async with either.transaction() as session:
        assert await finalize_leases.acquire(session, done.report, "another", lease_seconds=9, now=NOW)
    assert await report(either, EventType.COMPLETED, 1, 2, 4.0, run="2b") == 7


@pytest.mark.parametrize("end", ["lost", "value"])
async def test_a_run_that_ended_without_a_report_is_counted_by_what_it_told_before(
    app: AppHarness, stack: AsyncExitStack, end: str
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.send("export.progress", gpu_seconds=12.5)
    lost = Failed("run_lost", "It is gone.", transient=True)
    app.runner.statuses[run.spec.call_id] = (
        lost if end == "lost" else Finished(job_factory.build_failure(transient=True), 13.0)
    )
    app.runner.ended_calls.append(run.spec.call_id)
    app.state["dispatcher"].wake()
    await wait_for_state(app, job["job_id"], attempt=2)
    await set_back(app, job["job_id"], not_before=0.0)
    app.state["dispatcher"].wake()
    await (await app.next_run()).send("export.progress", gpu_seconds=2.0)
    body = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    assert (body["attempt"], body["gpu_seconds"]) == (2, 14.5 if end == "lost" else 15.0)
