"""Forgets what is old enough: timelines, the log of webhooks, idempotency keys. Little by little, so nobody waits."""

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.postgresql import Database
from service.jobs.models import IS_ACTIVE, IdempotencyKey
from service.jobs.transitions import EVENTS, JOBS
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, DeliveryState

logger = logging.getLogger("framehook.housekeeping")

IDEMPOTENCY_KEYS: Table = IdempotencyKey.__table__  # type: ignore[attr-defined]
ROUND_SECONDS = 3_600.0
BATCH_ROWS = 500
IDEMPOTENCY_SECONDS = 24 * 3_600.0


@dataclass(frozen=True)
class Retention:
    """How long a finished job's timeline, and the log of what was sent of it, are kept, in seconds."""

    events_seconds: float
    idempotency_seconds: float = IDEMPOTENCY_SECONDS


class RetentionTask:
    """Safe to run on every replica: what one has deleted, another finds gone."""

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    async def run(self) -> None:
        """One round after the other, an hour apart."""
        while True:
            await self.delete_expired(now=time.time())
            await asyncio.sleep(ROUND_SECONDS)

    async def delete_expired(self, *, now: float) -> int:
        """Forget everything that is due; how many rows that were."""
        forgotten = 0
        old = now - self._retention.events_seconds
        for table, due in (
            (EVENTS, EVENTS.c.at < old),
            (ATTEMPTS, ATTEMPTS.c.at < old),
            (DELIVERIES, DELIVERIES.c.ended_at < old),
            (ENDPOINTS, _of_ended_jobs(old)),
            (IDEMPOTENCY_KEYS, IDEMPOTENCY_KEYS.c.created_at < now - self._retention.idempotency_seconds),
        ):
            while True:
                async with self._database.transaction() as session:
                    few = await _forget(session, table, due)
                forgotten += few
                if few < BATCH_ROWS:
                    break
        if forgotten:
            logger.info("forgot %d old rows", forgotten)
        return forgotten


def _of_ended_jobs(old: float) -> ColumnElement[bool]:
    """Endpoints of single exports that are over and told of."""
    active = exists().where(JOBS.c.job_id == ENDPOINTS.c.job_id, IS_ACTIVE)
    waiting = exists().where(
        DELIVERIES.c.endpoint_id == ENDPOINTS.c.endpoint_id,
        DELIVERIES.c.state == DeliveryState.PENDING.value,
    )
    return and_(ENDPOINTS.c.job_id.is_not(None), ENDPOINTS.c.created_at < old, ~active, ~waiting)


async def _forget(session: AsyncSession, table: Table, old: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    due = select(*table.primary_key.columns).where(old).limit(BATCH_ROWS)
    count = await session.scalar(select(func.count()).select_from(due.subquery()))
    if count:
        await session.execute(delete(table).where(key.in_(due)))
    return int(count or 0)
