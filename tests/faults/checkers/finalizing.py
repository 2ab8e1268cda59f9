"""Wait for the short moments in which the service publishes an output."""

import asyncio
import time
from contextlib import suppress

from tests.faults.checkers.database_reader import DatabaseReader, DatabaseUnavailable

PATIENCE_SECONDS = 8.0
LOOK_SECONDS = 0.01


async def wait_for_finalizing(database: DatabaseReader, user_id: str) -> bool:
    """Wait until an output of the user's is being published; return False if none is in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(DatabaseUnavailable):
            if await database.is_finalizing(user_id):
                return True
        await asyncio.sleep(LOOK_SECONDS)
    return False
