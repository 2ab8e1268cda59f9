"""A starter of worker processes with a fork server, as the service runs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from service.workers.starter import WorkerStarter
from tests.support.service_process import wait_until


@asynccontextmanager
async def open_starter(*, pause_seconds: float = 3_600.0) -> AsyncIterator[WorkerStarter]:
    """Run a starter until the block ends; a fork server is ready."""
    starter = WorkerStarter(pause_seconds=pause_seconds)
    running = asyncio.create_task(starter.run())
    try:
        await wait_until(lambda: starter.can_fork)
        yield starter
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await starter.close()
