"""Hold calls of a Modal function in flight by spawn, runner, executor or threads.

Prints `ready` once it is connected, begins at a line on standard input, and stays until it is killed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import modal

from gpu.spec import AttemptSpec
from service.dispatch.runners.modal import ModalRunner

AT_ONCE = 16
ARGUMENTS: dict[str, Any] = {
    "job_id": "01a20ac0-8b78-7d40-9786-c87dafe2d681",
    "user_id": "",
    "job_type": "framing",
    "input_key": "uploads/match.mp4",
    "output_key": "",
    "params": {"keyframes": [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]},
    "callback": {"url": "http://127.0.0.1:8000/api/callbacks/" + "x" * 36, "key": "x" * 44, "attempt": 1},
    "transfer": {
        "sources": {"uploads/match.mp4": {"url": "x" * 200}},
        "output": {"url": "x" * 90, "key": "x" * 44, "attempt": 1},
    },
}

SPEC = AttemptSpec.model_validate(
    {
        "job_id": ARGUMENTS["job_id"],
        "attempt": 1,
        "call_id": "modal-bench-1",
        "type": "framing",
        "config": {"input_key": ARGUMENTS["input_key"], **ARGUMENTS["params"]},
        "transfer": ARGUMENTS["transfer"],
        "callback": {"url": ARGUMENTS["callback"]["url"], "key": ARGUMENTS["callback"]["key"]},
    }
)


async def wait_for_start() -> None:
    """Report that all is ready, and wait for the start."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def spawn(each: Callable[[], Awaitable[object]], count: int) -> None:
    """Spawn every call and keep nothing."""
    await wait_for_start()
    few = asyncio.Semaphore(AT_ONCE)

    async def call() -> None:
        async with few:
            await each()

    await asyncio.gather(*(call() for _ in range(count)))
    await asyncio.Event().wait()


async def executor(function: "modal.Function[..., Any, Any]", count: int, threads: int | None) -> None:
    """Wait for every call in a thread; the default executor has a few more than there are cores."""
    await wait_for_start()
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(threads) if threads else None
    await asyncio.gather(
        *(loop.run_in_executor(pool, lambda: function.remote(**ARGUMENTS)) for _ in range(count))
    )


async def main(way: str, count: int) -> None:
    function: modal.Function[..., Any, Any] = modal.Function.from_name("framehook", "process_video")
    await function.hydrate.aio()
    match way:
        case "spawn":
            await spawn(lambda: function.spawn.aio(**ARGUMENTS), count)
        case "runner":
            runner = ModalRunner("framehook")
            await runner.check()
            await spawn(lambda: runner.spawn(SPEC), count)
        case "executor":
            await executor(function, count, None)
        case _:
            await executor(function, count, count)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
