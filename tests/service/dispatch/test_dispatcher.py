"""The dispatcher and the watch: what becomes of an attempt that the runner refuses, loses, or never starts."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import update

from service.dispatch.runners import Failed, Refused, Running, Unknown
from service.jobs import transitions
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import House, opened
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.stream_server import until


class Slow(FakeRunner):
    """Takes its time to start the first run: until it is allowed to, or for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.allowed = asyncio.Event()

    async def spawn(self, spec: Any) -> str:
        self.asked.set()
        await self.allowed.wait()
        return await super().spawn(spec)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def house(settings: Settings, stack: AsyncExitStack, clock: MovableClock) -> House:
    return await stack.enter_async_context(opened(settings, FakeRunner(), clock.clock))


async def set_back(house: House, job_id: str, **values: float) -> None:
    """Let time have passed for a job: change its row behind the service's back."""
    async with house.database.transaction() as session:
        await session.execute(
            update(transitions.JOBS).where(transitions.JOBS.c.job_id == job_id).values(**values)
        )


async def shown(house: House, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await house.client.get(f"/api/exports/{job_id}")).json()
    return found


async def once(house: House, job_id: str, **wanted: object) -> dict[str, Any]:
    """The job, as soon as it is as wanted."""
    async with asyncio.timeout(10):
        while True:
            job = await shown(house, job_id)
            if {name: job[name] for name in wanted} == wanted:
                return job
            await asyncio.sleep(0.01)


async def test_a_run_is_told_all_it_needs_and_nothing_more(house: House) -> None:
    job = await house.submitted()
    spec = (await house.run()).spec
    assert (spec.job_id, spec.attempt, spec.config.input_key) == (job["job_id"], 1, job["input_key"])
    assert spec.callback is not None
    assert spec.callback.url == f"http://127.0.0.1:8000/api/callbacks/{job['job_id']}"
    secret = house.settings.callback_secret[0].get_secret_value()
    assert secret not in spec.model_dump_json()


async def test_no_more_start_than_there_are_places(settings: Settings, stack: AsyncExitStack) -> None:
    house = await stack.enter_async_context(opened(settings, FakeRunner(places=1)))
    ids = [(await house.submitted())["job_id"] for _ in range(3)]
    first = await house.run()
    house.runner.free = 0
    house.runner.freed.set()
    await once(house, ids[0], phase="starting")
    assert [(await shown(house, job_id))["phase"] for job_id in ids[1:]] == ["queued", "queued"]
    house.runner.free = 1
    house.runner.freed.set()
    assert (await house.run()).spec.job_id != first.spec.job_id


async def test_no_user_takes_all_places(users_settings: Settings, stack: AsyncExitStack) -> None:
    changed = users_settings.model_copy(update={"max_active_per_user": 2})
    house = await stack.enter_async_context(opened(changed, FakeRunner(places=9)))
    for user in ("ada", "ada", "ada", "ada", "bob"):
        await house.submitted(user=user, headers=bearer(user))
    started = [(await house.run()).spec.job_id for _ in range(3)]
    found = {job_id: (await house.row(job_id))["user_id"] for job_id in started}
    assert sorted(map(str, found.values())) == ["ada", "ada", "bob"]
    assert house.runner.spawned == []


@pytest.mark.parametrize(
    ("transient", "counted", "status", "attempts_left"),
    [
        pytest.param(False, True, "error", None, id="for good"),
        pytest.param(True, True, "pending", 2, id="for now"),
        pytest.param(True, False, "pending", 3, id="for now, at no cost"),
    ],
)
async def test_an_attempt_that_is_refused_is_tried_again_or_over(
    house: House, transient: bool, counted: bool, status: str, attempts_left: int | None
) -> None:
    refusal = Refused("no_gpu", "There is no GPU.", transient=transient, counted=counted)
    house.runner.refusals.append(refusal)
    job = await house.submitted()
    await once(house, job["job_id"], status=status, phase="done" if status == "error" else "queued")
    await until(lambda: not house.runner.refusals)
    row = await house.row(job["job_id"])
    if attempts_left is None:
        error = (await once(house, job["job_id"], status="error"))["error"]
        assert error == {"code": "no_gpu", "message": "There is no GPU."}
        return
    await once(house, job["job_id"], attempt=2)
    row = await house.row(job["job_id"])
    assert int(str(row["attempt_limit"])) - 1 == attempts_left
    assert "There is no GPU." in str(row["message"])


@pytest.mark.parametrize("standing", [Running(), Unknown()], ids=["running", "unknown"])
async def test_a_silent_run_that_is_not_known_to_be_lost_is_left_alone(
    house: House, clock: MovableClock, standing: Running | Unknown
) -> None:
    job = await house.submitted()
    run = await house.run()
    await run.started()
    house.runner.standings[run.spec.call_id] = standing
    before = await shown(house, job["job_id"])
    await clock.pass_time(house, 100)
    assert await shown(house, job["job_id"]) == before


async def test_a_silent_run_that_is_known_to_be_lost_is_replaced(house: House, clock: MovableClock) -> None:
    job = await house.submitted()
    run = await house.run()
    await run.started()
    house.runner.standings[run.spec.call_id] = Failed("preempted", "The machine was taken.", transient=True)
    await clock.pass_time(house, 59)
    assert (await shown(house, job["job_id"]))["attempt"] == 1
    await clock.pass_time(house, 2)
    assert (await shown(house, job["job_id"]))["attempt"] == 2
    assert (await run.tick(50)).status_code == 410
    await set_back(house, job["job_id"], not_before=0.0)
    house.runner.freed.set()
    assert (await house.run()).spec.attempt == 2


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
    house = await stack.enter_async_context(opened(brief, FakeRunner(), clock.clock))
    job = await house.submitted()
    run = await house.run()
    await once(house, job["job_id"], phase="starting")
    if started:
        await run.started()
    await clock.pass_time(house, 99)
    assert house.runner.cancelled == []
    await clock.pass_time(house, 30)  # it was being asked after meanwhile
    ended = await shown(house, job["job_id"])
    assert (ended["status"], ended["error"]["code"]) == ("error", code)
    assert house.runner.cancelled == [run.spec.call_id]


async def test_an_export_cancelled_while_its_run_starts_has_its_run_ended(
    settings: Settings, stack: AsyncExitStack
) -> None:
    runner = Slow()
    house = await stack.enter_async_context(opened(settings, runner))
    job = await house.submitted()
    await runner.asked.wait()
    await house.client.delete(f"/api/exports/{job['job_id']}")
    runner.allowed.set()
    run = await house.run()
    await until(lambda: run.spec.call_id in runner.cancelled)
    assert (await shown(house, job["job_id"]))["status"] == "cancelled"


async def test_a_shutdown_while_runs_start_costs_them_nothing(settings: Settings) -> None:
    once_only = settings.model_copy(update={"attempt_limit": 1})
    runner = Slow()
    async with opened(once_only, runner) as house:
        ids = [(await house.submitted())["job_id"] for _ in range(2)]
        await runner.asked.wait()
    async with opened(once_only, FakeRunner(instance="later-")) as house:
        runs = [await house.run() for _ in ids]
        assert {run.spec.job_id for run in runs} == set(ids)
        for run in runs:
            assert (await run.started()).status_code == 200


async def test_a_configuration_of_another_version_fails_alone(
    settings: Settings, stack: AsyncExitStack
) -> None:
    house = await stack.enter_async_context(opened(settings, FakeRunner(places=0)))
    ids = [(await house.submitted())["job_id"] for _ in range(3)]
    async with house.database.transaction() as session:
        jobs = transitions.JOBS
        broken = update(jobs).where(jobs.c.job_id == ids[1]).values(config=json.dumps({"zoom": 2}))
        await session.execute(broken)
    house.runner.free = 4
    house.runner.freed.set()
    runs = {(await house.run()).spec.job_id for _ in range(2)}
    assert runs == {ids[0], ids[2]}
    job = await once(house, ids[1], status="error")
    assert (job["attempt"], job["error"]["code"]) == (1, "config_unusable")
    assert house.state["supervisor"].down == {}


async def test_a_run_of_an_earlier_life_is_replaced_and_told_to_stop(settings: Settings) -> None:
    async with opened(settings, FakeRunner(instance="")) as house:  # its calls outlive it
        job = await house.submitted()
        before = await house.run()
        await before.started()
        await before.tick(60)
    async with opened(settings, FakeRunner(instance="second-")) as house:
        second = await house.run()
        assert (second.spec.job_id, second.spec.attempt) == (job["job_id"], 2)
        assert (await house.of(before.spec).tick(70)).status_code == 410
        assert (await second.started()).status_code == 200


async def test_a_service_can_be_stopped_at_any_moment(settings: Settings) -> None:
    """`wait_for` once dropped a cancellation that came together with what it waited for: the loop ran on."""
    for turns in range(12):
        async with asyncio.timeout(30):
            async with opened(settings, FakeRunner()) as house:
                await house.submitted()
                await house.run()
                for _ in range(turns):
                    await asyncio.sleep(0)
