"""A clock that steps, forward as after a laptop's sleep or back, ends nothing that is well."""

import asyncio
import base64
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from callbacks.envelope import Failure
from gpu.spec import RemoteUpload
from gpu.transfer.multipart import upload
from service.dispatch.runners import Failed, Finished
from service.ingest.store import recovered
from service.jobs import leases
from service.jobs.models import Job
from service.jobs.transitions import as_job
from service.settings import Settings
from tests.gpu.run_pipeline import run_to_end
from tests.service.dispatch.test_dispatcher import Slow, once, shown
from tests.support import job_factory
from tests.support.app_harness import SOURCE, House, opened
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.live_server import free_port, serving

TWO_HOURS = 2 * 3_600.0
LOST = Failed("run_lost", "It is gone.", transient=True)

both_ways = pytest.mark.parametrize("step", [TWO_HOURS, -TWO_HOURS], ids=["forward", "back"])


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def house(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> House:
    return await stack.enter_async_context(opened(settings, FakeRunner(), clock.clock))


@both_ways
async def test_an_export_at_work_goes_on_over_a_step_of_the_clock(
    house: House, clock: MovableClock, step: float
) -> None:
    waiting, working = [await house.submitted() for _ in range(2)]
    first, second = await house.run(), await house.run()
    run = first if first.spec.job_id == working["job_id"] else second
    other = second if run is first else first
    await once(house, waiting["job_id"], phase="starting")
    await run.started()
    # Whoever were asked after would be lost: that nobody is asked is what is tested.
    house.runner.standings |= {call.spec.call_id: LOST for call in (run, other)}
    clock.step_seconds = step
    await clock.pass_time(house, 30)
    assert (await shown(house, waiting["job_id"]))["attempt"] == 1
    for one in (run, other):
        assert (await tell(one, clock)).status_code == 200
    await clock.pass_time(house, 30)
    jobs = [await shown(house, job["job_id"]) for job in (waiting, working)]
    assert [(job["status"], job["attempt"]) for job in jobs] == [("processing", 1)] * 2


async def tell(run: FakeRun, clock: MovableClock) -> httpx.Response:
    """A tick that is signed by the same clock as the service's."""
    run.step += 1
    body = run.body("export.progress")
    ahead = int(clock.step_seconds + clock.passed_seconds)
    return await run.post(body, run.signed(body, age_seconds=-ahead))


@both_ways
async def test_a_start_goes_on_over_a_step_of_the_clock(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock, step: float
) -> None:
    runner = Slow()
    house = await stack.enter_async_context(opened(settings, runner, clock.clock))
    job = await house.submitted()
    await runner.asked.wait()
    clock.step_seconds = step
    await clock.pass_time(house, 20)
    runner.allowed.set()
    assert (await house.run()).spec.attempt == 1
    assert (await once(house, job["job_id"], phase="starting"))["attempt"] == 1


@both_ways
async def test_an_output_is_taken_in_over_a_step_of_the_clock(
    house: House, clock: MovableClock, step: float
) -> None:
    job = await house.submitted()
    run = await house.run()
    await run.started()
    row = await house.row(job["job_id"])
    assert row["call_id"] == run.spec.call_id
    found = await queried(house, job["job_id"])
    report = recovered(found, job_factory.OK, 1.0, now=clock.clock.wall()).report
    async with house.database.transaction() as session:
        assert await leases.finalize(session, report, lease_seconds=600, now=clock.clock.wall())
    clock.step_seconds = step
    house.runner.standings[run.spec.call_id] = LOST  # its process has ended, as it should
    house.runner.lost.append(run.spec.call_id)
    house.state["attempts"].wake()
    await clock.pass_time(house, 200)
    assert (await shown(house, job["job_id"]))["phase"] == "finalizing"
    await clock.pass_time(house, 500)
    assert (await shown(house, job["job_id"]))["attempt"] == 2, "whoever took it in has died"


async def queried(house: House, job_id: str) -> Job:
    return as_job(await house.row(job_id))


async def test_time_in_which_the_service_did_not_run_does_not_count(
    house: House, clock: MovableClock
) -> None:
    job = await house.submitted()
    run = await house.run()
    await run.started()
    house.runner.standings[run.spec.call_id] = LOST
    await house.state["attempts"].look()
    clock.passed_seconds += TWO_HOURS
    await house.state["attempts"].look()
    assert (await shown(house, job["job_id"]))["attempt"] == 1
    await clock.pass_time(house, 60)
    assert (await shown(house, job["job_id"]))["attempt"] == 2


async def test_a_pause_does_not_last_until_a_clock_that_went_back_has_caught_up(
    house: House, clock: MovableClock
) -> None:
    job = await house.submitted()
    run = await house.run()
    await run.failed(transient=True)
    await once(house, job["job_id"], attempt=2)
    clock.step_seconds = -TWO_HOURS
    await house.state["attempts"].look()
    house.state["attempts"].wake()
    assert (await house.run()).spec.attempt == 2


async def test_a_run_that_ended_in_time_is_taken_as_it_ended_however_late_it_is_found(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock
) -> None:
    brief = settings.model_copy(update={"queue_deadline_seconds": 20.0})
    house = await stack.enter_async_context(opened(brief, FakeRunner(), clock.clock))
    job = await house.submitted()
    run = await house.run()
    await once(house, job["job_id"], phase="starting")
    ending = Failure(code="no_video", message="The file holds no video.")
    house.runner.standings[run.spec.call_id] = Finished(ending, 1.0)
    await clock.pass_time(house, 30)
    assert (await shown(house, job["job_id"]))["error"]["code"] == "no_video"


@both_ways
async def test_a_run_with_another_clock_is_told_the_time_to_sign_by(
    house: House, clock: MovableClock, step: float
) -> None:
    await house.submitted()
    run = await house.run()
    clock.step_seconds = step
    body = run.at(1).body("export.started")
    refused = await run.post(body)
    assert refused.status_code == 401
    assert refused.json()["type"].endswith("clock_off")
    ahead = int(refused.headers["webhook-timestamp"]) - int(clock.clock.wall() - step)
    assert (await run.post(body, run.signed(body, age_seconds=-ahead))).status_code == 200


@both_ways
async def test_an_output_is_uploaded_by_a_machine_with_another_clock(
    settings: Settings, clock: MovableClock, tmp_path: Path, step: float
) -> None:
    clock.step_seconds = step
    placed = settings.model_copy(update={"port": free_port()})
    made = tmp_path / "made.mp4"
    made.write_bytes(b"an output")
    runner = FakeRunner()
    async with serving(placed, runner, clock.clock) as street:
        source = placed.data_dir / "objects" / "local" / SOURCE
        source.parent.mkdir(parents=True)
        source.write_bytes(b"video")
        body = {"type": "framing", "config": {"input_key": SOURCE, "keyframes": [CROP]}}
        assert (await street.http.post("/api/exports", json=body)).status_code == 202
        run = await street.run()
        target = RemoteUpload(
            url=f"{street.url}{run.url}/output", key=base64.b64encode(run.key).decode(), attempt=1
        )
        _, checksum = await asyncio.to_thread(lambda: run_to_end(upload(made, target)))
    assert checksum == f"sha256:{hashlib.sha256(b'an output').hexdigest()}"


CROP = {"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}
