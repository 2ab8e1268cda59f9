"""Word from other replicas: what they commit reaches the readers here."""

import logging
import time
from collections.abc import Callable, Sequence

from infra.postgresql import PostgresDatabase
from service import queries
from service.hub import Hub
from service.models import Job

logger = logging.getLogger("framehook.relay")

LOOK_BACK_SECONDS = 24 * 3_600.0


class Relay:
    """Listens to the database, and publishes here what was changed elsewhere."""

    def __init__(self, database: PostgresDatabase, hub: Hub, publish: Callable[[Job], None]) -> None:
        self._database = database
        self._hub = hub
        self._publish = publish

    async def run(self) -> None:
        """Listen until the line is lost; whoever keeps this alive calls it again."""
        await self._database.listen(self._catch_up, self._heard)
        logger.warning("the line to the database was lost; what was missed is read again")

    async def _catch_up(self) -> None:
        """Nothing was heard until now: every state that a reader here waits for is read again."""
        job_ids, user_ids = self._hub.watched()
        since = time.time() - LOOK_BACK_SECONDS
        async with self._database.reading() as session:
            found = await queries.by_ids(session, job_ids)
            for user_id in user_ids:
                found += await queries.current(session, user_id, since=since)
        for job in found:
            self._publish(job)

    async def _heard(self, job_ids: Sequence[str]) -> None:
        async with self._database.reading() as session:
            found = await queries.by_ids(session, job_ids)
        for job in found:
            self._publish(job)
