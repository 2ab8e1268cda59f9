"""A loop that fails is started again, and is reported as down until then."""

import asyncio
from contextlib import suppress

import pytest

from infra.supervise import Supervisor


class Loop:
    """A loop that ends a number of times, then runs on."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)
        self.starts = 0
        self.running = asyncio.Event()

    async def run(self) -> None:
        self.starts += 1
        if self.ends:
            end = self.ends.pop(0)
            if end is not None:
                raise end
            return
        self.running.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("end", [None, RuntimeError("broken"), OSError(28, "no space")], ids=repr)
async def test_a_loop_that_ends_is_started_again(end: Exception | None) -> None:
    supervisor, loop = Supervisor(), Loop(end, end)
    task = asyncio.create_task(supervisor.keep_running("ticks", loop.run))
    async with asyncio.timeout(10):
        await loop.running.wait()
    assert (loop.starts, supervisor.down) == (3, {})
    await cancel(task)


async def test_a_loop_that_is_down_says_why() -> None:
    supervisor = Supervisor()
    tried = asyncio.Event()

    async def broken() -> None:
        asyncio.get_running_loop().call_soon(tried.set)
        raise KeyError("secret")

    task = asyncio.create_task(supervisor.keep_running("ticks", broken))
    await tried.wait()
    assert supervisor.down == {"ticks": "KeyError"}
    await cancel(task)


async def test_a_cancelled_loop_stays_ended() -> None:
    supervisor, loop = Supervisor(), Loop()
    task = asyncio.create_task(supervisor.keep_running("ticks", loop.run))
    await loop.running.wait()
    await cancel(task)
    assert task.cancelled()
    assert loop.starts == 1


async def test_each_pause_is_logged_and_twice_as_long_as_the_one_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor, loop = Supervisor(), Loop(None, RuntimeError("broken"))
    task = asyncio.create_task(supervisor.keep_running("ticks", loop.run))
    async with asyncio.timeout(10):
        await loop.running.wait()
    await cancel(task)
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert messages == [f"starting the ticks loop again in {pause:.1f} s" for pause in (0.1, 0.2)]


async def cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
