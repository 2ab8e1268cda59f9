"""While the runner can start nothing, exports wait: they lose no attempt, and say what they wait for."""

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from service.clock import Clock
from service.dispatch.runners import RunnerReadiness, RunnerRefused
from service.settings import Settings
from tests.service.dispatch.test_dispatcher import get_job, set_back, wait_for_state
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner


def outage(code: str = "modal_unreachable", message: str = "Modal can't be reached.") -> RunnerRefused:
    return RunnerRefused(code, message, transient=True, counted=False, affects_all=True)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> AppHarness:
    return await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))


async def end_outage(app: AppHarness, clock: MovableClock) -> None:
    app.runner.problem = None
    clock.passed_seconds += 10
    assert await app.state["runner_readiness"].problem() is None


async def test_an_outage_uses_up_no_attempt_and_is_said_everywhere(
    app: AppHarness, clock: MovableClock
) -> None:
    app.runner.problem = outage()
    app.runner.refusals.append(outage())
    first = (await app.submit_export())["job_id"]
    await wait_for_state(app, first, attempt=2)
    second = await app.submit_export()
    app.runner.freed.set()
    waiting = await get_job(app, second["job_id"])
    assert (waiting["attempt"], waiting["sequence"]) == (1, 1), "nothing else is tried"
    assert waiting["queue"]["limited_by"] == "Modal can't be reached"
    assert waiting["queue"]["ahead_seconds"] is None
    assert (await get_job(app, first))["queue"]["limited_by"] == "Modal can't be reached"
    readiness = await app.client.get("/readyz")
    assert readiness.status_code == 503
    assert readiness.json()["runner_error"] == {
        "code": "modal_unreachable",
        "message": "Modal can't be reached.",
    }
    others = await app.client.get("/readyz?exclude=runner&exclude=storage")
    assert (others.status_code, others.json()) == (
        200,
        {"status": "ok", "runs_on": readiness.json()["runs_on"], "database": "ok", "loops": "ok"},
    )
    assert (await app.client.get("/api/system")).json()["health"]["runner"] == "failing"
    metrics = (await app.client.get("/metrics")).text
    assert "framehook_runner_outage 1.0" in metrics
    assert "framehook_runner_refused_starts_total 1.0" in metrics

    await end_outage(app, clock)
    await set_back(app, first, not_before=0.0)
    started = {(await app.next_run()).spec.job_id for _ in range(2)}
    assert started == {first, second["job_id"]}
    row = await app.fetch_row(first)
    assert int(str(row["attempt_limit"])) - int(str(row["attempt"])) == app.settings.attempt_limit - 1
    assert "framehook_runner_outage 0.0" in (await app.client.get("/metrics")).text


async def test_an_outage_that_a_health_check_finds_keeps_exports_from_being_tried(
    app: AppHarness, clock: MovableClock
) -> None:
    app.runner.problem = outage()
    assert (await app.client.get("/readyz")).status_code == 503
    job = await app.submit_export()
    app.runner.freed.set()
    await asyncio.sleep(0)
    assert (await get_job(app, job["job_id"]))["sequence"] == 1
    await end_outage(app, clock)
    assert (await app.next_run()).spec.job_id == job["job_id"]


async def test_a_refusal_of_one_export_keeps_no_other_from_starting(app: AppHarness) -> None:
    app.runner.refusals.append(
        RunnerRefused("disk_full", "The disk is full. It waits.", transient=True, counted=False)
    )
    job = await app.submit_export()
    waiting = await wait_for_state(app, job["job_id"], attempt=2)
    assert waiting["queue"]["limited_by"] == "The disk is full"
    assert waiting["queue"]["ahead_seconds"] > 0
    other = await app.submit_export()
    assert (await app.next_run()).spec.job_id == other["job_id"]


async def test_the_log_says_when_an_outage_begins_once_a_minute_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    runner = FakeRunner()
    readiness = RunnerReadiness(runner, Clock(monotonic=lambda: now))
    runner.problem = outage("modal_app_missing", "The app is not deployed. Run `framehook modal deploy`.")
    with caplog.at_level(logging.WARNING, "framehook.runners"):
        for now in range(0, 150, 5):  # noqa: B007 - the clock reads it
            await readiness.problem()
            readiness.report_refusal(runner.problem)
        assert [readiness.outage and readiness.outage.reason] == ["The app is not deployed"]
        runner.problem = None
        now = 160
        assert await readiness.problem() is None
    assert readiness.outage is None
    assert runner.freed.is_set(), "the dispatcher looks for pending jobs at once"
    begins = "no export can be started, all wait: The app is not deployed. Run `framehook modal deploy`."
    ends = "exports can be started again, after 160 s"
    assert [record.getMessage() for record in caplog.records] == [begins, begins, begins, ends]
