"""Delete expired timelines, webhook logs, API and idempotency keys and stubs of erased exports in small batches."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.audit.models import AUDIT_LOG
from service.clock import DAY_SECONDS, Clock, DeletionClock
from service.jobs.erasures import ERASURES, STUB_SECONDS
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.models import EVENTS, IS_ACTIVE, JOBS
from service.keys.models import API_KEYS
from service.keys.store import match_ended
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, PACING, EndpointKind

logger = logging.getLogger("framehook.housekeeping")

INTERVAL_SECONDS = 3_600.0
BATCH_ROWS = 500
AUDIT_SECONDS = 365 * DAY_SECONDS
IDEMPOTENCY_SECONDS = DAY_SECONDS
LISTENER_SECONDS = 7 * DAY_SECONDS
"""A webhook of kind `listener` to which none has connected for this long is deleted: its command was killed."""


@dataclass(frozen=True)
class Retention:
    """How long timelines, webhook logs, the audit log and API keys that have ended, and idempotency keys, are kept."""

    events_seconds: float
    audit_seconds: float = AUDIT_SECONDS
    idempotency_seconds: float = IDEMPOTENCY_SECONDS


class RetentionTask:
    """Periodic deletion of expired rows; safe to run on every replica."""

    def __init__(self, database: Database, retention: Retention, clock: Clock | None = None) -> None:
        self._database = database
        self._retention = retention
        self._deletion_clock = DeletionClock(clock or Clock())

    async def run(self) -> None:
        """Delete expired rows once an hour."""
        while True:
            await self.delete_expired(now=self._deletion_clock.read())
            await asyncio.sleep(INTERVAL_SECONDS)

    async def delete_expired(self, *, now: float) -> int:
        """Delete all rows past their retention and return how many there were."""
        deleted = 0
        for table, is_expired in self._list_expired(now):
            deleted += await self._delete_in_batches(table, is_expired)
        if deleted:
            logger.info("deleted %d expired rows", deleted)
        return deleted

    def _list_expired(self, now: float) -> Sequence[tuple[Table, ColumnElement[bool]]]:
        oldest_event = now - self._retention.events_seconds
        oldest_key = now - self._retention.idempotency_seconds
        return (
            (EVENTS, EVENTS.c.at < oldest_event),
            (ATTEMPTS, ATTEMPTS.c.at < oldest_event),
            (DELIVERIES, DELIVERIES.c.ended_at < oldest_event),
            (ENDPOINTS, _match_finished_jobs(oldest_event)),
            (ENDPOINTS, _match_abandoned_listeners(now - LISTENER_SECONDS)),
            (PACING, PACING.c.next_at < oldest_event),
            (AUDIT_LOG, AUDIT_LOG.c.at < now - self._retention.audit_seconds),
            (API_KEYS, match_ended(oldest_event)),
            (IDEMPOTENCY_KEYS, IDEMPOTENCY_KEYS.c.created_at < oldest_key),
            (ERASURES, and_(ERASURES.c.erased_at < now - STUB_SECONDS, ERASURES.c.next_at.is_(None))),
        )

    async def _delete_in_batches(self, table: Table, is_expired: ColumnElement[bool]) -> int:
        """Delete in transactions of at most BATCH_ROWS rows, so that writers never wait long."""
        deleted = 0
        while True:
            async with self._database.transaction() as session:
                batch = await _delete_batch(session, table, is_expired)
            deleted += batch
            if batch < BATCH_ROWS:
                return deleted


def _match_finished_jobs(created_before: float) -> ColumnElement[bool]:
    """Match endpoints of single exports that have ended and have no deliveries any more."""
    is_job_active = exists().where(JOBS.c.job_id == ENDPOINTS.c.job_id, IS_ACTIVE)
    has_deliveries = exists().where(DELIVERIES.c.endpoint_id == ENDPOINTS.c.endpoint_id)
    is_old = ENDPOINTS.c.created_at < created_before
    return and_(ENDPOINTS.c.job_id.is_not(None), is_old, ~is_job_active, ~has_deliveries)


def _match_abandoned_listeners(listened_before: float) -> ColumnElement[bool]:
    last_used = func.coalesce(ENDPOINTS.c.listened_at, ENDPOINTS.c.created_at)
    return and_(ENDPOINTS.c.kind == EndpointKind.LISTENER.value, last_used < listened_before)


async def _delete_batch(session: AsyncSession, table: Table, is_expired: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    batch = select(*table.primary_key.columns).where(is_expired).limit(BATCH_ROWS)
    count = await session.scalar(select(func.count()).select_from(batch.subquery()))
    if count:
        # The condition again: PostgreSQL checks it after it has waited for a lock, unlike that of the subquery.
        await session.execute(delete(table).where(key.in_(batch), is_expired))
    return int(count or 0)
