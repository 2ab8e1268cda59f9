"""Word from other replicas: what they commit reaches the readers here."""

import logging
import time
from collections.abc import Callable, Sequence

from infra.database.postgresql import PostgresDatabase
from infra.database.sqlite import ChangedRow
from service.fanout.hub import Hub
from service.jobs import queries
from service.jobs.models import Job
from service.webhooks import endpoints
from service.webhooks.models import ENDPOINT_PREFIX, DisabledReason, Endpoint

logger = logging.getLogger("framehook.relay")

LOOK_BACK_SECONDS = 24 * 3_600.0


class ChangeListener:
    """Listens to the database, and publishes here what was changed elsewhere."""

    def __init__(
        self,
        database: PostgresDatabase,
        hub: Hub,
        publish: Callable[[Job], None],
        tell: Callable[[Endpoint], None],
    ) -> None:
        """`tell` is given the endpoints that were disabled elsewhere."""
        self._database = database
        self._hub = hub
        self._publish = publish
        self._tell = tell

    async def run(self) -> None:
        """Listen until the line is lost; whoever keeps this alive calls it again."""
        await self._database.listen(self._reload_subscribed, self._on_notify)
        logger.warning("the line to the database was lost; what was missed is read again")

    async def _reload_subscribed(self) -> None:
        """Nothing was heard until now: every state that a reader here waits for is read again."""
        job_ids, user_ids = self._hub.subscribed_ids()
        since = time.time() - LOOK_BACK_SECONDS
        async with self._database.reading() as session:
            found = await queries.list_by_ids(session, job_ids)
            for user_id in user_ids:
                found += await queries.list_recent(session, user_id, since=since)
        for job in found:
            self._publish(job)

    async def _on_notify(self, told: Sequence[ChangedRow]) -> None:
        of_endpoints = [name for name, _ in told if name.startswith(ENDPOINT_PREFIX)]
        of_jobs = [name for name, owner in told if self._hub.has_subscribers(name, owner)]
        if not (of_endpoints or of_jobs):
            return
        async with self._database.reading() as session:
            found = await queries.list_by_ids(session, of_jobs) if of_jobs else []
            changed = await endpoints.list_by_ids(session, of_endpoints) if of_endpoints else []
        for job in found:
            self._publish(job)
        for endpoint in changed:
            if (
                not endpoint.enabled and endpoint.disabled_reason != DisabledReason.BY_USER
            ):  # who did it knows
                self._tell(endpoint)
