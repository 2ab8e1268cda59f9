"""A process whose event loop is blocked ends and says where; one that is only busy goes on."""

import subprocess
import sys

PROGRAM = """
import asyncio, time
from infra.loop_watchdog import watch_event_loop

async def block_the_loop():
    time.sleep(60)

async def main():
    watching = asyncio.create_task(watch_event_loop(0.5))
    for _ in range(8):
        await asyncio.sleep(0.1)  # longer than the limit in all
    print("ran", flush=True)
    if {blocks}:
        await block_the_loop()
    watching.cancel()
    await asyncio.wait([watching])
    time.sleep(0.6)

asyncio.run(main())
"""


def run_program(*, blocks: bool) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", PROGRAM.replace("{blocks}", str(blocks))]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_a_blocked_event_loop_ends_the_process_and_shows_where_it_was() -> None:
    result = run_program(blocks=True)
    assert (result.returncode, result.stdout) == (1, "ran\n")
    assert "block_the_loop" in result.stderr


def test_a_loop_that_turns_is_left_alone_and_so_is_one_that_is_no_longer_watched() -> None:
    result = run_program(blocks=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ran\n", "")
