"""A process reports loops and a database that have failed for long, by a monotonic clock."""

import asyncio
import json
from contextlib import suppress

import pytest
from starlette.requests import Request

from infra.liveness import DEAD_SECONDS, Liveness
from infra.supervise import STEADY_SECONDS, Supervisor
from service.api.health import healthz
from service.api.state import State


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class FakeDatabase:
    """A database check that fails on demand."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def check(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supervisor(clock: Clock) -> Supervisor:
    return Supervisor(clock)


async def die_once(supervisor: Supervisor, name: str) -> "asyncio.Task[None]":
    """Supervise a loop that has failed once and been started again when this returns."""
    died, again = asyncio.Event(), asyncio.Event()

    async def loop() -> None:
        if died.is_set():
            again.set()
            await asyncio.Event().wait()
        died.set()
        raise OSError("no connection")

    keeping = asyncio.create_task(supervisor.keep_running(name, loop))
    async with asyncio.timeout(10):
        await again.wait()
    return keeping


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_database_that_answers_is_alive_however_long_ago_the_start_was(
    clock: Clock, supervisor: Supervisor
) -> None:
    liveness = Liveness(FakeDatabase().check, supervisor, clock=clock)
    for _ in range(10):
        clock.now += DEAD_SECONDS - 1
        await liveness.probe()
        assert liveness.dead_seconds() == {}


async def test_a_database_that_has_not_answered_for_long_is_dead_until_it_answers(
    clock: Clock, supervisor: Supervisor
) -> None:
    database = FakeDatabase()
    liveness = Liveness(database.check, supervisor, clock=clock)
    database.error = OSError("no connection")
    with pytest.raises(OSError, match="no connection"):
        await liveness.probe()
    clock.now += DEAD_SECONDS
    assert liveness.dead_seconds() == {}
    clock.now += 1
    assert liveness.dead_seconds() == {"database": DEAD_SECONDS + 1}
    database.error = None
    await liveness.probe()
    assert liveness.dead_seconds() == {}


async def test_a_loop_that_never_runs_steadily_is_dead_since_its_first_death(
    clock: Clock, supervisor: Supervisor
) -> None:
    liveness = Liveness(FakeDatabase().check, supervisor, clock=clock)
    deaths: asyncio.Queue[None] = asyncio.Queue()

    async def loop() -> None:
        clock.now += STEADY_SECONDS
        deaths.put_nowait(None)
        raise OSError("no connection")

    keeping = asyncio.create_task(supervisor.keep_running("dispatch", loop))
    async with asyncio.timeout(10):
        for _ in range(4):
            await deaths.get()
    await liveness.probe()
    assert liveness.dead_seconds() == {"dispatch": 3 * STEADY_SECONDS}
    await end(keeping)


async def test_a_loop_that_has_run_steadily_since_it_died_is_alive(
    clock: Clock, supervisor: Supervisor
) -> None:
    liveness = Liveness(FakeDatabase().check, supervisor, clock=clock)
    keeping = await die_once(supervisor, "dispatch")
    clock.now += DEAD_SECONDS + 1
    await liveness.probe()
    assert supervisor.failing_seconds() == {}
    await end(keeping)


@pytest.mark.parametrize(("silent_seconds", "status"), [(DEAD_SECONDS, 200), (DEAD_SECONDS + 5, 503)])
async def test_healthz_fails_when_something_has_been_dead_for_long(
    clock: Clock, supervisor: Supervisor, silent_seconds: float, status: int
) -> None:
    liveness = Liveness(FakeDatabase().check, supervisor, clock=clock)
    clock.now += silent_seconds
    request: Request[State] = Request({"type": "http", "state": {"liveness": liveness}})
    answer = await healthz(request)
    assert answer.status_code == status
    if status == 503:
        assert json.loads(bytes(answer.body)) == {"status": "failing", "dead_seconds": {"database": 65}}
