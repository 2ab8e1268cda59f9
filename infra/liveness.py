"""Tells how long loops or the database have been dead: past a bound the process should be started again."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from infra.supervise import Supervisor

PROBE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 10.0
DEAD_SECONDS = 60.0
DATABASE = "database"


class Liveness:
    """Asks the database from time to time, and watches the supervised loops."""

    def __init__(
        self,
        check_database: Callable[[], Awaitable[None]],
        supervisor: Supervisor,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is monotonic: a wall clock that is set says nothing about how long anything took."""
        self._check_database = check_database
        self._supervisor = supervisor
        self._clock = clock
        self._answered_at = clock()

    async def run(self) -> None:
        """Probe the database until it fails; whoever keeps this alive calls it again."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_SECONDS)

    async def probe(self) -> None:
        """Note that the database answers; raise if it does not."""
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            await self._check_database()
        self._answered_at = self._clock()

    def dead_seconds(self) -> dict[str, float]:
        """What has been dead for longer than the bound, by name, and for how long."""
        silent = {DATABASE: self._clock() - self._answered_at}
        failing = silent | self._supervisor.failing_seconds()
        return {name: seconds for name, seconds in failing.items() if seconds > DEAD_SECONDS}
