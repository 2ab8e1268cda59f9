"""The moments in which the service verifies and publishes an output: they are short, so a schedule waits for one."""

import asyncio
import time
from contextlib import suppress

from tests.faults.checkers.database_reader import Ledger, OutOfReach

PATIENCE_SECONDS = 8.0
LOOK_SECONDS = 0.01


async def wait_for_finalizing(ledger: Ledger, user_id: str) -> bool:
    """Wait until an output of the user's is being published; whether one was within the patience of this."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(OutOfReach):
            if await ledger.is_finalizing(user_id):
                return True
        await asyncio.sleep(LOOK_SECONDS)
    return False
