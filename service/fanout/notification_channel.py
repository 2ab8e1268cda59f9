"""Publish changes that other replicas committed to local subscribers (LISTEN/NOTIFY)."""

import logging
import time
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import ChangedRow, ChangeFeed, Database
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.initial_states import LOOK_BACK_SECONDS, MARGIN_SECONDS
from service.fanout.notices import publish_completed, publish_disabled, publish_erased
from service.jobs import erasures, queries
from service.jobs.batches.completion import CompletedBatch
from service.jobs.batches.models import BATCH_PREFIX, BATCHES
from service.jobs.batches.queries import list_completed
from service.jobs.erasures import ERASURES, Erasure
from service.jobs.models import Job
from service.webhooks import endpoints
from service.webhooks.listeners.connections import Listeners
from service.webhooks.listeners.outcomes import OUTCOME_PREFIX, parse_announcement
from service.webhooks.models import ENDPOINT_PREFIX, DisabledReason

logger = logging.getLogger("framehook.relay")

MAX_ERASED = 1_000
"""How many of the erasures that were missed are published."""


class NotificationChannel:
    """Listen to the database and publish here what other replicas changed."""

    def __init__(
        self,
        database: Database,
        change_feed: ChangeFeed,
        hub: Hub,
        changes: JobChanges,
        listeners: Listeners,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._change_feed = change_feed
        self._hub = hub
        hub.gets_every_change = False
        self._changes = changes
        self._listeners = listeners
        self._clock = clock
        self._lost_at = time.monotonic()

    async def run(self) -> None:
        """Listen until the connection is lost; the supervisor calls this again."""
        try:
            await self._change_feed.listen(self._reload_subscribed, self._on_notify)
        finally:
            self._hub.gets_every_change = False
            self._lost_at = time.monotonic()
        logger.warning("the connection to the database was lost; missed changes are loaded again")

    async def _reload_subscribed(self) -> None:
        """Publish the state of every subscribed job: changes before the connection were missed."""
        job_ids, user_ids = self._hub.list_subscribed()
        since = self._clock() - LOOK_BACK_SECONDS
        async with self._database.reading() as session:
            jobs = await queries.list_by_ids(session, job_ids)
            missed = await self._list_erased(session, user_ids) if user_ids else []
            erased = await erasures.list_by_ids(session, [*job_ids, *missed])
            for user_id in user_ids:
                jobs += await queries.list_recent(session, user_id, since=since)
                jobs += await queries.list_edited(session, user_id, since=since)
            is_missed = (BATCHES.c.user_id.in_(user_ids), BATCHES.c.completed_at >= self._missed_since)
            completed = await list_completed(session, *is_missed) if user_ids else []
        self._publish(jobs, erased, completed)
        self._hub.gets_every_change = True

    @property
    def _missed_since(self) -> float:
        """Return when the connection was lost, by the wall clock of now: it may have been set since."""
        return self._clock() - (time.monotonic() - self._lost_at) - MARGIN_SECONDS

    async def _list_erased(self, session: AsyncSession, user_ids: Sequence[str]) -> Sequence[str]:
        """Return the exports of users that were erased before the connection; those of uploads have no attempts."""
        is_missed = (ERASURES.c.erased_at >= self._missed_since, ERASURES.c.attempts > 0)
        query = select(ERASURES.c.job_id).where(ERASURES.c.user_id.in_(user_ids), *is_missed)
        return (await session.execute(query.limit(MAX_ERASED))).scalars().all()

    async def _on_notify(self, changes: Sequence[ChangedRow]) -> None:
        """Load the rows that other replicas changed and publish those with local subscribers."""
        for row_id, _ in changes:
            if row_id.startswith(OUTCOME_PREFIX):
                self._listeners.settle(*parse_announcement(row_id))
        changes = [change for change in changes if not change[0].startswith(OUTCOME_PREFIX)]
        endpoint_ids = [row_id for row_id, _ in changes if row_id.startswith(ENDPOINT_PREFIX)]
        subscribed = [row_id for row_id, user_id in changes if self._hub.has_subscribers(row_id, user_id)]
        batch_ids = [row_id for row_id in subscribed if row_id.startswith(BATCH_PREFIX)]
        job_ids = [row_id for row_id in subscribed if not row_id.startswith(BATCH_PREFIX)]
        if not (endpoint_ids or subscribed):
            return
        async with self._database.reading() as session:
            jobs = await queries.list_by_ids(session, job_ids) if job_ids else []
            erased = await erasures.list_by_ids(session, job_ids) if len(jobs) < len(set(job_ids)) else []
            completed = await list_completed(session, BATCHES.c.batch_id.in_(batch_ids)) if batch_ids else []
            changed_endpoints = await endpoints.list_by_ids(session, endpoint_ids) if endpoint_ids else []
        self._publish(jobs, erased, completed)
        for endpoint in changed_endpoints:
            # A user who disabled the endpoint has the response to that request; no notice is needed.
            if not endpoint.enabled and endpoint.disabled_reason != DisabledReason.BY_USER:
                publish_disabled(self._hub, endpoint)

    def _publish(
        self, jobs: Sequence[Job], erased: Sequence[Erasure], completed: Sequence[CompletedBatch]
    ) -> None:
        for job in jobs:
            self._changes.publish(job)
        for erasure in erased:
            publish_erased(self._hub, erasure)
        for batch in completed:
            publish_completed(self._hub, batch)
