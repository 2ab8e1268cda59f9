"""Exports end that did not start, or did not finish, within the time that their clients allow."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.dispatch.attempt_failures import AttemptEnder
from service.dispatch.runners import Failed
from service.dispatch.time_limits import TimeLimits
from service.settings import Settings
from tests.service.dispatch.test_dispatcher import BlockedRunner, get_job
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> AppHarness:
    return await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))


async def submit(app: AppHarness, **fields: Any) -> str:
    job_id: str = (await app.submit_export(json=app.export_body() | fields))["job_id"]
    return job_id


async def read_error(app: AppHarness, job_id: str) -> str | None:
    error = (await get_job(app, job_id))["error"]
    return error and str(error["code"])


async def test_an_export_that_waits_too_long_for_its_run_fails_and_the_run_is_stopped(
    app: AppHarness, clock: MovableClock
) -> None:
    job_id = await submit(app, start_within_seconds=60)
    run = await app.next_run()
    await clock.pass_time(app, 50)
    assert await read_error(app, job_id) is None
    await clock.pass_time(app, 15)
    assert await read_error(app, job_id) == "not_started_in_time"
    assert run.spec.call_id in app.runner.cancelled
    assert (await run.report_started()).status_code == 410


async def test_an_export_that_never_reached_the_runner_fails_as_well(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock
) -> None:
    runner = BlockedRunner()
    app = await stack.enter_async_context(open_app(settings, runner, clock.clock))
    job_id = await submit(app, start_within_seconds=20)
    await runner.spawn_requested.wait()
    await clock.pass_time(app, 30)
    assert await read_error(app, job_id) == "not_started_in_time"


async def test_an_export_that_started_in_time_may_wait_for_its_next_attempt(
    app: AppHarness, clock: MovableClock
) -> None:
    job_id = await submit(app, start_within_seconds=60)
    run = await app.next_run()
    await run.report_started()
    app.runner.statuses[run.spec.call_id] = Failed("preempted", "The machine was taken.", transient=True)
    await clock.pass_time(app, 90)
    job = await get_job(app, job_id)
    assert (job["status"], job["attempt"]) == ("pending", 2)


async def test_an_export_fails_at_its_deadline_whatever_it_is_doing(
    app: AppHarness, clock: MovableClock
) -> None:
    job_id = await submit(app, deadline_seconds=60)
    run = await app.next_run()
    await run.report_started()
    for _ in range(6):
        await run.report_progress(10)
        await clock.pass_time(app, 10)
    assert await read_error(app, job_id) == "deadline_exceeded"
    assert (await run.report_progress(20)).status_code == 410


async def test_a_complete_export_keeps_its_result_after_its_deadline(
    app: AppHarness, clock: MovableClock
) -> None:
    job_id = await submit(app, deadline_seconds=60)
    assert (await app.complete_run(await app.next_run())).status_code == 200
    await clock.pass_time(app, 90)
    assert (await get_job(app, job_id))["status"] == "complete"


async def test_a_retry_gets_the_whole_time_again(app: AppHarness, clock: MovableClock) -> None:
    job_id = await submit(app, start_within_seconds=60)
    await clock.pass_time(app, 70)
    assert (await app.client.post(f"/api/exports/{job_id}/retry")).status_code == 202
    await clock.pass_time(app, 50)
    assert (await get_job(app, job_id))["status"] == "pending"
    await clock.pass_time(app, 20)
    assert await read_error(app, job_id) == "not_started_in_time"


async def test_limits_count_from_the_scheduled_start(app: AppHarness, clock: MovableClock) -> None:
    start = datetime.now(UTC) + timedelta(seconds=100)
    job_id = await submit(app, not_before=start.isoformat(), start_within_seconds=30)
    await clock.pass_time(app, 90)
    job = await get_job(app, job_id)
    assert (job["status"], job["not_before"][:19]) == ("pending", start.isoformat()[:19])
    assert app.runner.spawned == []


@pytest.mark.parametrize("step", [7_200.0, -7_200.0], ids=["forward", "back"])
async def test_a_step_of_the_clock_ends_no_export_and_saves_none(
    app: AppHarness, clock: MovableClock, step: float
) -> None:
    job_id = await submit(app, start_within_seconds=60)
    await clock.pass_time(app, 5)
    clock.step_seconds = step
    await clock.pass_time(app, 40)
    assert await read_error(app, job_id) is None
    await clock.pass_time(app, 30)
    assert await read_error(app, job_id) == "not_started_in_time"


async def test_a_scheduled_export_does_not_end_before_its_time_if_the_clock_is_set_back(
    app: AppHarness, clock: MovableClock
) -> None:
    start = datetime.now(UTC) + timedelta(seconds=100)
    job_id = await submit(app, not_before=start.isoformat(), start_within_seconds=30)
    await clock.pass_time(app, 5)
    clock.step_seconds = -7_200
    await clock.pass_time(app, 200)
    assert (await get_job(app, job_id))["status"] == "pending"


@pytest.mark.parametrize("field", ["start_within_seconds", "deadline_seconds"])
async def test_a_clock_that_leaps_forward_right_after_the_request_ends_no_export(
    app: AppHarness, clock: MovableClock, field: str
) -> None:
    job_id = await submit(app, **{field: 600})
    clock.step_seconds = 7_200
    await app.state["rescuer"].rescue_once()
    assert await read_error(app, job_id) is None


async def test_a_clock_that_is_set_back_right_after_the_request_adds_no_time(
    app: AppHarness, clock: MovableClock
) -> None:
    job_id = await submit(app, start_within_seconds=60)
    clock.step_seconds = -7_200
    await clock.pass_time(app, 120)
    assert await read_error(app, job_id) == "not_started_in_time"


async def test_a_replica_whose_clock_is_ahead_ends_no_export_of_another(app: AppHarness) -> None:
    other = MovableClock()
    other.step_seconds = 7_200
    ender = AttemptEnder(app.database, app.state["changes"], other.clock)
    limits = TimeLimits(app.database, ender, max_round_seconds=11, clock=other.clock)
    await limits.enforce()
    job_id = await submit(app, start_within_seconds=600)
    await limits.enforce()
    assert await read_error(app, job_id) is None
