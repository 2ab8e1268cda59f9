"""Tests of exports during which the service ends: counted apart from the export's attempts, and limited."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from infra.database.base import Database
from service.dispatch.attempt_failures import PROMPT_INTERRUPTIONS, AttemptFailure, end_attempt, interruption
from service.dispatch.runners import Failed, LocalRunner
from service.jobs import leases, transitions
from service.jobs.models import Job, Status
from service.jobs.retry_rule import MAX_INTERRUPTIONS
from service.settings import Settings
from tests.service.dispatch.test_call_ids import wait_for_spawn
from tests.service.dispatch.test_dispatcher import BlockedRunner
from tests.support import job_factory
from tests.support.app_harness import open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner

NOW = 1_000.0
RESTARTED = interruption("The service was restarted.")


async def submit(database: Database, *, attempts: int) -> Job:
    async with database.transaction() as session:
        return await transitions.submit(
            session, job_factory.submission_for("job-1"), runner="local", attempt_limit=attempts, now=NOW
        )


async def interrupt(database: Database, job: Job) -> Job:
    """Start the job, let the service die, and start the service again."""
    async with database.transaction() as session:
        await leases.claim(session, slots=1, per_user=9, lease_seconds=30, now=NOW + 1_000)
        ended = await end_attempt(session, job, RESTARTED, now=NOW, jitter=0)
    assert ended is not None
    return ended


async def test_an_export_with_one_attempt_survives_more_than_ten_deaths_of_the_service(
    any_database: Database,
) -> None:
    job = await submit(any_database, attempts=1)
    for _ in range(12):
        job = await interrupt(any_database, job)
    assert (job.status, job.attempt, job.interruptions) == (Status.PENDING, 13, 12)
    async with any_database.transaction() as session:
        own = AttemptFailure("broken", "It broke.", retryable=True)
        ended = await end_attempt(session, job, own, now=NOW, jitter=0)
    assert ended is not None
    assert (ended.status, ended.error_code) == (Status.ERROR, "broken"), "its own failures count as before"


async def test_an_export_that_brings_the_service_down_ends_and_says_why(any_database: Database) -> None:
    job = await submit(any_database, attempts=3)
    for _ in range(MAX_INTERRUPTIONS):
        job = await interrupt(any_database, job)
        assert job.status is Status.PENDING
    job = await interrupt(any_database, job)
    assert (job.status, job.error_code) == (Status.ERROR, "interrupted_too_often")
    assert f"more than {MAX_INTERRUPTIONS} times" in str(job.error_message)


async def test_a_retry_forgets_the_interruptions(any_database: Database) -> None:
    job = await submit(any_database, attempts=3)
    for _ in range(MAX_INTERRUPTIONS + 1):
        job = await interrupt(any_database, job)
    async with any_database.transaction() as session:
        again = await transitions.retry(session, "ada", "job-1", attempts=3, now=NOW)
    assert again is not None
    assert (again.interruptions, again.attempt_limit - again.attempt) == (0, 2)


async def test_an_interrupted_export_starts_at_once_until_it_may_be_the_cause(
    any_database: Database,
) -> None:
    job = await submit(any_database, attempts=3)
    pauses = []
    for _ in range(MAX_INTERRUPTIONS):
        job = await interrupt(any_database, job)
        pauses.append(job.not_before - NOW)
    assert pauses[:PROMPT_INTERRUPTIONS] == [0] * PROMPT_INTERRUPTIONS
    assert pauses[PROMPT_INTERRUPTIONS:] == sorted(pauses[PROMPT_INTERRUPTIONS:])
    assert pauses[PROMPT_INTERRUPTIONS] > 0


@pytest.fixture
def once_only(settings: Settings) -> Settings:
    return settings.model_copy(update={"attempt_limit": 1})


async def test_a_start_that_was_never_confirmed_uses_up_no_attempt(
    once_only: Settings, stack: AsyncExitStack
) -> None:
    runner, clock = (
        BlockedRunner(),
        MovableClock(),
    )  # like a process that ended before it could record the start
    app = await stack.enter_async_context(open_app(once_only, runner, clock.clock))
    job = await app.submit_export()
    await runner.spawn_requested.wait()
    await clock.pass_time(app, 40)
    row = await app.fetch_row(job["job_id"])
    assert (row["status"], row["attempt"], row["interruptions"]) == ("pending", 2, 1)


@pytest.mark.parametrize(
    ("interrupted", "status"),
    [pytest.param(True, "pending", id="with its service"), pytest.param(False, "error", id="by itself")],
)
async def test_a_run_that_is_gone_uses_up_an_attempt_unless_its_service_died(
    once_only: Settings, stack: AsyncExitStack, interrupted: bool, status: str
) -> None:
    clock = MovableClock()
    app = await stack.enter_async_context(open_app(once_only, FakeRunner(), clock.clock))
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    gone = Failed("run_lost", "The process is gone.", transient=True, interrupted=interrupted)
    app.runner.statuses[run.spec.call_id] = gone
    await wait_for_spawn(app, run)
    await clock.pass_time(app, 100)
    assert (await app.fetch_row(job["job_id"]))["status"] == status


async def test_a_local_run_of_another_replica_is_gone_with_its_service(tmp_path: Path) -> None:
    runner = LocalRunner(tmp_path, 1, instance="here")
    statuses = [await runner.probe(f"local-{name}-job-1") for name in ("here", "there")]
    assert [isinstance(each, Failed) and each.interrupted for each in statuses] == [False, True]
