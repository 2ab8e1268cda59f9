"""A step of the wall clock, forward (as after a suspend) or back, ends no healthy attempt."""

import asyncio
import base64
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from callbacks.envelope import Failure
from gpu.spec import RemoteUpload
from gpu.transfer.multipart import upload_file
from service.dispatch.runners import Failed, Finished
from service.ingest.changes import change_from_result
from service.jobs import finalize_leases
from service.jobs.models import Job
from service.jobs.transitions import to_job
from service.settings import Settings
from tests.gpu.run_pipeline import run_to_end
from tests.service.dispatch.test_dispatcher import BlockedRunner, get_job, wait_for_state
from tests.support import job_factory
from tests.support.app_harness import SOURCE, AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.live_server import free_port, serve_app

TWO_HOURS = 2 * 3_600.0
LOST = Failed("run_lost", "It is gone.", transient=True)

both_ways = pytest.mark.parametrize("step", [TWO_HOURS, -TWO_HOURS], ids=["forward", "back"])


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> AppHarness:
    return await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))


@both_ways
async def test_an_export_at_work_goes_on_over_a_step_of_the_clock(
    app: AppHarness, clock: MovableClock, step: float
) -> None:
    waiting, working = [await app.submit_export() for _ in range(2)]
    first, second = await app.next_run(), await app.next_run()
    run = first if first.spec.job_id == working["job_id"] else second
    other = second if run is first else first
    await wait_for_state(app, waiting["job_id"], phase="starting")
    await run.report_started()
    # A run that is probed would be lost; the test shows that none is probed.
    app.runner.statuses |= {call.spec.call_id: LOST for call in (run, other)}
    clock.step_seconds = step
    await clock.pass_time(app, 30)
    assert (await get_job(app, waiting["job_id"]))["attempt"] == 1
    for call in (run, other):
        assert (await report_by_clock(call, clock)).status_code == 200
    await clock.pass_time(app, 30)
    jobs = [await get_job(app, job["job_id"]) for job in (waiting, working)]
    assert [(job["status"], job["attempt"]) for job in jobs] == [("processing", 1)] * 2


async def report_by_clock(run: FakeRun, clock: MovableClock) -> httpx.Response:
    """Report progress, signed with the time of the service's clock."""
    run.step += 1
    body = run.body("export.progress")
    ahead = int(clock.step_seconds + clock.passed_seconds)
    return await run.post(body, run.sign(body, age_seconds=-ahead))


@both_ways
async def test_a_start_goes_on_over_a_step_of_the_clock(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock, step: float
) -> None:
    runner = BlockedRunner()
    app = await stack.enter_async_context(open_app(settings, runner, clock.clock))
    job = await app.submit_export()
    await runner.spawn_requested.wait()
    clock.step_seconds = step
    await clock.pass_time(app, 20)
    runner.allowed.set()
    assert (await app.next_run()).spec.attempt == 1
    assert (await wait_for_state(app, job["job_id"], phase="starting"))["attempt"] == 1


@both_ways
async def test_an_output_is_taken_in_over_a_step_of_the_clock(
    app: AppHarness, clock: MovableClock, step: float
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    row = await app.fetch_row(job["job_id"])
    assert row["call_id"] == run.spec.call_id
    stored = await load_job(app, job["job_id"])
    report = change_from_result(stored, job_factory.VALID_OUTPUT, 1.0, now=clock.clock.wall()).report
    async with app.database.transaction() as session:
        assert await finalize_leases.acquire(
            session, report, "another", lease_seconds=600, now=clock.clock.wall()
        )
    clock.step_seconds = step
    app.runner.statuses[run.spec.call_id] = LOST  # its process has ended, as it should
    app.runner.ended_calls.append(run.spec.call_id)
    app.state["dispatcher"].wake()
    await clock.pass_time(app, 10)
    assert (await get_job(app, job["job_id"]))["phase"] == "finalizing"
    await clock.pass_time(app, 20)
    assert (await get_job(app, job["job_id"]))["attempt"] == 2, "the process that published it has ended"


async def load_job(app: AppHarness, job_id: str) -> Job:
    return to_job(await app.fetch_row(job_id))


async def test_time_in_which_the_service_did_not_run_does_not_count(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    app.runner.statuses[run.spec.call_id] = LOST
    await app.state["rescuer"].rescue_once()
    clock.passed_seconds += TWO_HOURS
    await app.state["rescuer"].rescue_once()
    assert (await get_job(app, job["job_id"]))["attempt"] == 1
    await clock.pass_time(app, 60)
    assert (await get_job(app, job["job_id"]))["attempt"] == 2


async def test_a_pause_does_not_last_until_a_clock_that_went_back_has_caught_up(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_failed(transient=True)
    await wait_for_state(app, job["job_id"], attempt=2)
    clock.step_seconds = -TWO_HOURS
    await app.state["rescuer"].rescue_once()
    app.state["dispatcher"].wake()
    assert (await app.next_run()).spec.attempt == 2


async def test_a_run_that_ended_in_time_is_taken_as_it_ended_however_late_it_is_found(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock
) -> None:
    brief = settings.model_copy(update={"queue_deadline_seconds": 20.0})
    app = await stack.enter_async_context(open_app(brief, FakeRunner(), clock.clock))
    job = await app.submit_export()
    run = await app.next_run()
    await wait_for_state(app, job["job_id"], phase="starting")
    ending = Failure(code="no_video", message="The file holds no video.")
    app.runner.statuses[run.spec.call_id] = Finished(ending, 1.0)
    await clock.pass_time(app, 30)
    assert (await get_job(app, job["job_id"]))["error"]["code"] == "no_video"


@both_ways
async def test_a_run_with_another_clock_is_told_the_time_to_sign_by(
    app: AppHarness, clock: MovableClock, step: float
) -> None:
    await app.submit_export()
    run = await app.next_run()
    clock.step_seconds = step
    body = run.at_step(1).body("export.started")
    refused = await run.post(body)
    assert refused.status_code == 401
    assert refused.json()["type"].endswith("clock_off")
    ahead = int(refused.headers["webhook-timestamp"]) - int(clock.clock.wall() - step)
    assert (await run.post(body, run.sign(body, age_seconds=-ahead))).status_code == 200


@both_ways
async def test_an_output_is_uploaded_by_a_machine_with_another_clock(
    settings: Settings, clock: MovableClock, tmp_path: Path, step: float
) -> None:
    clock.step_seconds = step
    placed = settings.model_copy(update={"port": free_port()})
    output = tmp_path / "output.mp4"
    output.write_bytes(b"an output")
    runner = FakeRunner()
    async with serve_app(placed, runner, clock.clock) as server:
        source = placed.data_dir / "objects" / "local" / SOURCE
        source.parent.mkdir(parents=True)
        source.write_bytes(b"video")
        body = {"type": "framing", "config": {"input_key": SOURCE, "keyframes": [CROP]}}
        assert (await server.http.post("/api/exports", json=body)).status_code == 202
        run = await server.next_run()
        target = RemoteUpload(
            url=f"{server.url}{run.url}/output", key=base64.b64encode(run.key).decode(), attempt=1
        )
        _, checksum = await asyncio.to_thread(lambda: run_to_end(upload_file(output, target)))
    assert checksum == f"sha256:{hashlib.sha256(b'an output').hexdigest()}"


CROP = {"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}
