"""The call that is probed and cancelled is the one that the runner started, not one that a report names."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.dispatch.runners import Failed
from service.settings import Settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.stream_server import wait_until

ANOTHER = "fc-of-another-run"


class SlowRunner(FakeRunner):
    """Starts a run immediately, but does not return before it is allowed to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.allowed = asyncio.Event()

    async def spawn(self, spec: Any) -> str:
        call_id = await super().spawn(spec)
        await self.allowed.wait()
        return call_id


async def wait_for_spawn(app: AppHarness, run: FakeRun) -> None:
    """Wait until the call is stored."""
    async with asyncio.timeout(10):
        while (await app.fetch_row(run.spec.job_id))["spawned_at"] is None:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["export.started", "export.progress", "export.failed", "export.completed"])
async def test_a_report_that_names_another_call_is_gone_and_changes_nothing(
    app: AppHarness, kind: str
) -> None:
    await app.submit_export()
    run = await app.next_run()
    await wait_for_spawn(app, run)
    await run.report_started()
    before = await app.fetch_row(run.spec.job_id)
    ending: dict[str, dict[str, Any]] = {
        "export.failed": {"error": {"code": "no_video", "message": "The file holds no video."}},
        "export.completed": {
            "output": {"size": 5, "checksum": f"sha256:{0:064}", "duration": 1, "width": 64, "height": 36}
        },
    }

    answer = await run.send(kind, call_id=ANOTHER, run="f" * 16, **ending.get(kind, {}))

    assert answer.status_code == 410
    assert await app.fetch_row(run.spec.job_id) == before
    assert (await run.report_progress(30)).status_code == 200


async def test_a_cancel_ends_the_call_that_was_started(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await wait_for_spawn(app, run)
    await run.send("export.started", call_id=ANOTHER)
    await run.report_started()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    assert app.runner.cancelled == [run.spec.call_id]


async def test_a_run_that_is_run_again_under_its_call_goes_on(app: AppHarness) -> None:
    """Modal runs the input of a preempted container again: the call is the same, the run a new one."""
    await app.submit_export()
    run = await app.next_run()
    await wait_for_spawn(app, run)
    await run.send("export.started", run="0a")
    again = app.run_for(run.spec)
    assert (await again.send("export.started", run="0b")).status_code == 200
    assert (await run.send("export.progress", run="0a")).status_code == 410


async def test_a_report_that_comes_before_the_call_is_stored_is_taken_in(
    settings: Settings, stack: AsyncExitStack
) -> None:
    runner = SlowRunner()
    app = await stack.enter_async_context(open_app(settings, runner))
    await app.submit_export()
    run = await app.next_run()
    assert (await run.report_started()).status_code == 200
    assert (await run.report_progress(40)).status_code == 200
    assert (await app.fetch_row(run.spec.job_id))["call_id"] is None
    runner.allowed.set()
    await wait_for_spawn(app, run)
    row = await app.fetch_row(run.spec.job_id)
    assert (row["call_id"], row["status"], row["progress"]) == (run.spec.call_id, "processing", 40)
    assert (await run.report_progress(50)).json() == {"sequence": int(str(row["sequence"])) + 1}


async def test_what_another_call_reported_before_the_call_was_stored_is_taken_back(
    settings: Settings, stack: AsyncExitStack
) -> None:
    runner = SlowRunner()
    app = await stack.enter_async_context(open_app(settings, runner))
    job = await app.submit_export()
    run = await app.next_run()
    forged = {"call_id": ANOTHER, "run": "f" * 16, "step": 900, "progress": 99, "gpu_seconds": 1e6}
    assert (await run.send("export.progress", **forged)).status_code == 200
    runner.allowed.set()
    await wait_for_spawn(app, run)
    row = await app.fetch_row(run.spec.job_id)
    assert (row["call_id"], row["status"], row["progress"]) == (run.spec.call_id, "pending", 0)
    assert row["gpu_seconds"] == 0
    assert (await run.send("export.progress", **forged, message="again")).status_code == 410
    assert (await run.report_started()).status_code == 200
    await app.client.delete(f"/api/exports/{job['job_id']}")
    assert runner.cancelled == [run.spec.call_id]


async def test_a_cancel_before_the_call_is_stored_ends_the_call_that_was_started(
    settings: Settings, stack: AsyncExitStack
) -> None:
    runner = SlowRunner()
    app = await stack.enter_async_context(open_app(settings, runner))
    job = await app.submit_export()
    run = await app.next_run()
    await run.send("export.started", call_id=ANOTHER)
    await app.client.delete(f"/api/exports/{job['job_id']}")
    assert runner.cancelled == []
    runner.allowed.set()
    await wait_until(lambda: runner.cancelled == [run.spec.call_id])


async def test_a_run_whose_call_was_never_stored_goes_on_until_it_falls_silent(
    settings: Settings, stack: AsyncExitStack
) -> None:
    """The service died before it stored the call, so it can neither be probed nor cancelled."""
    runner = SlowRunner(instance="")  # its calls outlive the service
    async with open_app(settings, runner) as app:
        await app.submit_export()
        run = await app.next_run()
        assert (await run.report_started()).status_code == 200
    clock = MovableClock()
    later = await stack.enter_async_context(open_app(settings, FakeRunner(instance=""), clock.clock))
    run = later.run_for(run.spec).at_step(run.step)
    assert (await run.report_progress(50)).status_code == 200
    row = await later.fetch_row(run.spec.job_id)
    assert (row["attempt"], row["call_id"]) == (1, None)
    later.runner.statuses[run.spec.call_id] = Failed(
        "probed", "The call must not be probed.", transient=False
    )
    await clock.pass_time(later, 100)
    row = await later.fetch_row(run.spec.job_id)
    assert (row["attempt"], row["status"]) == (2, "pending")
    assert later.runner.cancelled == []
    assert (await run.report_progress(60)).status_code == 410


async def test_a_local_run_that_had_reported_when_its_start_was_cut_off_starts_again(
    settings: Settings,
) -> None:
    runner = SlowRunner(instance="first-")
    async with open_app(settings, runner) as app:
        job = await app.submit_export()
        run = await app.next_run()
        await run.report_started()
    assert runner.cancelled == [run.spec.call_id]
    async with open_app(settings, FakeRunner(instance="second-")) as app:
        again = await app.next_run()
        assert (again.spec.job_id, again.spec.attempt) == (job["job_id"], 2)
