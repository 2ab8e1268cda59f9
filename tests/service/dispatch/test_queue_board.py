"""What a waiting export says that it waits for."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.observation import Limits
from service.dispatch.queue_board import QueueBoard
from service.dispatch.runners import RunnerReadiness
from service.jobs import leases, queries, transitions
from service.jobs.queue.observed_waits import ObservedWaits
from service.settings import Settings
from tests.service.conftest import bearer
from tests.service.jobs.simulated_queue import Queue
from tests.support.app_harness import open_app
from tests.support.fakes import FakeRunner
from tests.support.job_factory import submission_for


class Board:
    """A board that looks at a simulated queue."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        limits = Limits(per_user=queue.per_user, deadline_seconds=60, queue_seconds=60, silence_seconds=60)
        runner, clock = FakeRunner(slots=queue.slots), Clock(wall=lambda: queue.now)
        self.waits: list[tuple[float, float]] = []
        waits = ObservedWaits(lambda *wait: self.waits.append(wait))
        self.board = QueueBoard(queue.database, runner, RunnerReadiness(runner), limits, clock, waits)

    async def describe(self, job_id: str) -> Any:
        async with self.queue.database.reading() as session:
            job = await queries.get_any(session, job_id)
        assert job is not None
        return self.board.describe(job)


@pytest.fixture
def queue(any_database: Database) -> Queue:
    return Queue(any_database, 2, per_user=1)


async def test_a_job_says_whether_its_user_or_the_runner_is_at_the_limit(queue: Queue) -> None:
    board = Board(queue)
    await queue.submit("ada", 2)
    await queue.claim()
    await queue.submit("bob", 1)
    await board.board.refresh()
    own, free = await board.describe("job-000001"), await board.describe("job-000002")
    assert (own["position"], own["limited_by"]) == (3, "your other run")
    assert free == {"position": 2, "ahead_seconds": 0.0, "limited_by": None}
    await queue.claim()
    await queue.submit("cid", 1)
    await board.board.refresh()
    assert (await board.describe("job-000003"))["limited_by"] == "2 local workers"
    assert await board.describe("job-000000") == {"position": 1, "ahead_seconds": 0.0, "limited_by": None}


async def test_a_job_that_came_since_the_last_look_gets_an_estimate(queue: Queue) -> None:
    board = Board(queue)
    await queue.submit("ada", 1)
    assert (await board.describe("job-000000"))["position"] == 1
    await queue.claim()
    await queue.submit("bob", 2)
    await board.board.refresh()
    await queue.submit("cid", 1)
    assert (await board.describe("job-000003"))["position"] == 3, "after the one that starts and bob's first"
    async with queue.database.transaction() as session:
        claimed = await leases.claim(session, slots=1, per_user=1, lease_seconds=30, now=queue.now)
        (started,) = [await leases.record_spawn(session, job, "call", now=queue.now) for job in claimed]
    assert started is not None
    assert board.board.describe(started) == {"position": 2, "ahead_seconds": 0.0, "limited_by": None}


async def test_a_job_that_may_not_start_yet_says_until_when(queue: Queue) -> None:
    board = Board(queue)
    submission = replace(submission_for("later"), scheduled_at=queue.now + 60)
    async with queue.database.transaction() as session:
        await transitions.submit(session, submission, runner="local", attempt_limit=3, now=queue.now)
    await board.board.refresh()
    described = {"position": 1, "ahead_seconds": 60.0, "limited_by": "the time in not_before"}
    assert await board.describe("later") == described
    queue.now += 20
    assert (await board.describe("later"))["ahead_seconds"] == 40.0


async def test_a_job_that_waits_after_a_failure_says_which(queue: Queue) -> None:
    board = Board(queue)
    await queue.submit("ada", 1)
    await queue.claim()
    await queue.lose("job-000000")
    described = await board.describe("job-000000")
    assert described["limited_by"] == "It broke"
    assert described["ahead_seconds"] == pytest.approx(4.0)


async def test_a_job_that_has_ended_has_no_place(queue: Queue) -> None:
    board = Board(queue)
    await queue.submit("ada", 1)
    await queue.claim()
    await queue.complete("job-000000")
    assert await board.describe("job-000000") is None


async def test_exports_of_two_users_show_their_places(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    runner = FakeRunner(slots=0)
    runner.max_runs = 1
    app = await stack.enter_async_context(open_app(users_settings, runner))
    ids = [
        (await app.submit_export(user=user, headers=bearer(user)))["job_id"]
        for user in ("ada", "ada", "ada", "bob", "bob")
    ]
    async with asyncio.timeout(10):
        while True:
            exports = []
            for user in ("ada", "bob"):
                answer = await app.client.get("/api/exports", headers=bearer(user))
                exports += answer.json()["exports"]
            positions = {export["job_id"]: export["queue"]["position"] for export in exports}
            if [positions[job_id] for job_id in ids] == [1, 3, 5, 2, 4]:
                break
            await asyncio.sleep(0.05)


async def test_waits_are_compared_with_what_was_foreseen_when_they_began(queue: Queue) -> None:
    board = Board(queue)
    for user in ("ada", "ada", "bob", "bob"):
        await queue.submit(user, forecast_seconds=50.0, forecast_high_seconds=60.0)
    await queue.claim()
    await board.board.refresh()
    await queue.work(20.0)  # both runs end after 20 s, instead of 50, and the other two start
    await board.board.refresh()
    assert board.waits == [(50.0, 20.0)] * 2
    await queue.work(50.0)
    await board.board.refresh()
    assert len(board.waits) == 2, "each wait counts once"
