"""Tests of the dispatcher and the rescuer: attempts that the runner refuses, loses or never starts."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import update

from service.dispatch.runners import Failed, RunnerRefused, Running, Unknown
from service.jobs import models
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.stream_server import wait_until


class RunnerWithOneSlot(FakeRunner):
    """Has no slot left once it has started a run, until a test frees it."""

    async def spawn(self, spec: Any) -> str:
        self.free_slots = 0
        return await super().spawn(spec)


class BlockedRunner(FakeRunner):
    """Does not start a run before it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.spawn_requested = asyncio.Event()
        self.allowed = asyncio.Event()

    async def spawn(self, spec: Any) -> str:
        self.spawn_requested.set()
        await self.allowed.wait()
        return await super().spawn(spec)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> AppHarness:
    return await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))


async def set_back(app: AppHarness, job_id: str, **values: float) -> None:
    """Change a job's row without the service, as if time had passed."""
    async with app.database.transaction() as session:
        await session.execute(update(models.JOBS).where(models.JOBS.c.job_id == job_id).values(**values))


async def get_job(app: AppHarness, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await app.client.get(f"/api/exports/{job_id}")).json()
    return job


async def wait_for_state(app: AppHarness, job_id: str, **wanted: object) -> dict[str, Any]:
    """Wait until the job has these values, and return it."""
    async with asyncio.timeout(10):
        while True:
            job = await get_job(app, job_id)
            if {name: job[name] for name in wanted} == wanted:
                return job
            await asyncio.sleep(0.01)


async def test_a_run_is_told_all_it_needs_and_nothing_more(app: AppHarness) -> None:
    job = await app.submit_export()
    spec = (await app.next_run()).spec
    assert (spec.job_id, spec.attempt, spec.config.input_key) == (job["job_id"], 1, job["input_key"])
    assert spec.callback is not None
    assert spec.callback.url == f"http://127.0.0.1:8000/api/callbacks/{job['job_id']}"
    secret = app.settings.callback_secret[0].get_secret_value()
    assert secret not in spec.model_dump_json()


async def test_no_more_start_than_there_are_places(settings: Settings, stack: AsyncExitStack) -> None:
    app = await stack.enter_async_context(open_app(settings, RunnerWithOneSlot(slots=1)))
    ids = [(await app.submit_export())["job_id"] for _ in range(3)]
    first = await app.next_run()
    app.runner.freed.set()
    await wait_for_state(app, ids[0], phase="starting")
    assert [(await get_job(app, job_id))["phase"] for job_id in ids[1:]] == ["queued", "queued"]
    app.runner.free_slots = 1
    app.runner.freed.set()
    assert (await app.next_run()).spec.job_id != first.spec.job_id


async def test_no_user_takes_all_places(users_settings: Settings, stack: AsyncExitStack) -> None:
    changed = users_settings.model_copy(update={"max_active_per_user": 2})
    app = await stack.enter_async_context(open_app(changed, FakeRunner(slots=9)))
    for user in ("ada", "ada", "ada", "ada", "bob"):
        await app.submit_export(user=user, headers=bearer(user))
    started = [(await app.next_run()).spec.job_id for _ in range(3)]
    owners = {job_id: (await app.fetch_row(job_id))["user_id"] for job_id in started}
    assert sorted(map(str, owners.values())) == ["ada", "ada", "bob"]
    assert app.runner.spawned == []


@pytest.mark.parametrize(
    ("transient", "counted", "status", "attempts_left"),
    [
        pytest.param(False, True, "error", None, id="for good"),
        pytest.param(True, True, "pending", 2, id="for now"),
        pytest.param(True, False, "pending", 3, id="for now, at no cost"),
    ],
)
async def test_an_attempt_that_is_refused_is_tried_again_or_over(
    app: AppHarness, transient: bool, counted: bool, status: str, attempts_left: int | None
) -> None:
    refusal = RunnerRefused("no_gpu", "There is no GPU.", transient=transient, counted=counted)
    app.runner.refusals.append(refusal)
    job = await app.submit_export()
    await wait_for_state(app, job["job_id"], status=status, phase="done" if status == "error" else "queued")
    await wait_until(lambda: not app.runner.refusals)
    row = await app.fetch_row(job["job_id"])
    if attempts_left is None:
        error = (await wait_for_state(app, job["job_id"], status="error"))["error"]
        assert error == {"code": "no_gpu", "message": "There is no GPU."}
        return
    await wait_for_state(app, job["job_id"], attempt=2)
    row = await app.fetch_row(job["job_id"])
    assert int(str(row["attempt_limit"])) - 1 == attempts_left
    assert "There is no GPU." in str(row["message"])


@pytest.mark.parametrize("status", [Running(), Unknown()], ids=["running", "unknown"])
async def test_a_silent_run_that_is_not_known_to_be_lost_is_left_alone(
    app: AppHarness, clock: MovableClock, status: Running | Unknown
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    app.runner.statuses[run.spec.call_id] = status
    before = await get_job(app, job["job_id"])
    await clock.pass_time(app, 100)
    assert await get_job(app, job["job_id"]) == before


async def test_a_silent_run_that_is_known_to_be_lost_is_replaced(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    app.runner.statuses[run.spec.call_id] = Failed("preempted", "The machine was taken.", transient=True)
    await clock.pass_time(app, 59)
    assert (await get_job(app, job["job_id"]))["attempt"] == 1
    await clock.pass_time(app, 2)
    assert (await get_job(app, job["job_id"]))["attempt"] == 2
    assert (await run.report_progress(50)).status_code == 410
    await set_back(app, job["job_id"], not_before=0.0)
    app.runner.freed.set()
    assert (await app.next_run()).spec.attempt == 2


@pytest.mark.parametrize(
    ("started", "code"),
    [
        pytest.param(True, "deadline_exceeded", id="that runs too long"),
        pytest.param(False, "never_started", id="that never starts"),
    ],
)
async def test_a_run_has_a_deadline(
    settings: Settings, stack: AsyncExitStack, clock: MovableClock, started: bool, code: str
) -> None:
    brief = settings.model_copy(update={"attempt_deadline_seconds": 40.0, "queue_deadline_seconds": 100.0})
    app = await stack.enter_async_context(open_app(brief, FakeRunner(), clock.clock))
    job = await app.submit_export()
    run = await app.next_run()
    await wait_for_state(app, job["job_id"], phase="starting")
    if started:
        await run.report_started()
    await clock.pass_time(app, 99)
    assert app.runner.cancelled == []
    await clock.pass_time(app, 30)  # its run was being probed
    ended = await get_job(app, job["job_id"])
    assert (ended["status"], ended["error"]["code"]) == ("error", code)
    assert app.runner.cancelled == [run.spec.call_id]


async def test_an_export_cancelled_while_its_run_starts_has_its_run_ended(
    settings: Settings, stack: AsyncExitStack
) -> None:
    runner = BlockedRunner()
    app = await stack.enter_async_context(open_app(settings, runner))
    job = await app.submit_export()
    await runner.spawn_requested.wait()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    runner.allowed.set()
    run = await app.next_run()
    await wait_until(lambda: run.spec.call_id in runner.cancelled)
    assert (await get_job(app, job["job_id"]))["status"] == "cancelled"


async def test_a_shutdown_while_runs_start_costs_them_nothing(settings: Settings) -> None:
    once_only = settings.model_copy(update={"attempt_limit": 1})
    runner = BlockedRunner()
    async with open_app(once_only, runner) as app:
        ids = [(await app.submit_export())["job_id"] for _ in range(2)]
        await runner.spawn_requested.wait()
    async with open_app(once_only, FakeRunner(instance="later-")) as app:
        runs = [await app.next_run() for _ in ids]
        assert {run.spec.job_id for run in runs} == set(ids)
        for run in runs:
            assert (await run.report_started()).status_code == 200


async def test_a_configuration_of_another_version_fails_alone(
    settings: Settings, stack: AsyncExitStack
) -> None:
    app = await stack.enter_async_context(open_app(settings, FakeRunner(slots=0)))
    ids = [(await app.submit_export())["job_id"] for _ in range(3)]
    async with app.database.transaction() as session:
        jobs = models.JOBS
        broken = update(jobs).where(jobs.c.job_id == ids[1]).values(config=json.dumps({"zoom": 2}))
        await session.execute(broken)
    app.runner.free_slots = 4
    app.runner.freed.set()
    runs = {(await app.next_run()).spec.job_id for _ in range(2)}
    assert runs == {ids[0], ids[2]}
    job = await wait_for_state(app, ids[1], status="error")
    assert (job["attempt"], job["error"]["code"]) == (1, "config_unusable")
    assert app.state["supervisor"].down == {}


async def test_a_run_of_an_earlier_life_is_replaced_and_told_to_stop(settings: Settings) -> None:
    async with open_app(settings, FakeRunner(instance="")) as app:  # its calls outlive it
        job = await app.submit_export()
        before = await app.next_run()
        await before.report_started()
        await before.report_progress(60)
    async with open_app(settings, FakeRunner(instance="second-")) as app:
        second = await app.next_run()
        assert (second.spec.job_id, second.spec.attempt) == (job["job_id"], 2)
        assert (await app.run_for(before.spec).report_progress(70)).status_code == 410
        assert (await second.report_started()).status_code == 200


async def test_a_service_can_be_stopped_at_any_moment(settings: Settings) -> None:
    """`wait_for` once dropped a cancellation that came together with what it waited for: the loop ran on."""
    for turns in range(12):
        async with asyncio.timeout(30):
            async with open_app(settings, FakeRunner()) as app:
                await app.submit_export()
                await app.next_run()
                for _ in range(turns):
                    await asyncio.sleep(0)
