"""Whether the process should be restarted: a loop or the database has been failing for too long."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from infra.supervise import Supervisor

PROBE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 10.0
DEAD_SECONDS = 60.0
DATABASE = "database"


class Liveness:
    """Check the database regularly, and watch the supervised loops."""

    def __init__(
        self,
        check_database: Callable[[], Awaitable[None]],
        supervisor: Supervisor,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a monotonic `clock`, in seconds: the wall clock can be set."""
        self._check_database = check_database
        self._supervisor = supervisor
        self._clock = clock
        self._answered_at = clock()

    async def run(self) -> None:
        """Check the database until it fails; the supervisor calls this again."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def probe(self) -> None:
        """Record that the database answers; raise if it does not."""
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await self._check_database()
        self._answered_at = self._clock()

    def dead_seconds(self) -> dict[str, float]:
        """Return what has failed for longer than DEAD_SECONDS, by name, and for how long."""
        database = {DATABASE: self._clock() - self._answered_at}
        failing = database | self._supervisor.failing_seconds()
        return {name: seconds for name, seconds in failing.items() if seconds > DEAD_SECONDS}
