"""End the process when its event loop is blocked, so that Docker or systemd starts it again."""

import asyncio
import faulthandler

CHECKS = 4
"""How often the timer is set back within its time."""


async def watch_event_loop(seconds: float) -> None:
    """End the process with status 1 once the event loop has been blocked for `seconds`.

    First it writes what each thread was doing to standard error. The timer is a thread of the interpreter that needs
    no lock of Python's, so it also works while C code keeps the lock. It counts no time in which the machine sleeps.
    """
    try:
        while True:
            faulthandler.dump_traceback_later(seconds, exit=True)
            await asyncio.sleep(seconds / CHECKS)
    finally:
        faulthandler.cancel_dump_traceback_later()
