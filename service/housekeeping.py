"""Forgets what is old enough: timelines, clients' idempotency keys. A little at a time, so that nobody waits for it."""

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from infra.postgresql import AnyDatabase
from service.jobs import EVENTS
from service.models import IdempotencyKey

logger = logging.getLogger("framehook.housekeeping")

KEYS: Table = IdempotencyKey.__table__  # type: ignore[attr-defined]
ROUND_SECONDS = 3_600.0
AT_A_TIME = 500
IDEMPOTENCY_SECONDS = 24 * 3_600.0


@dataclass(frozen=True)
class Retention:
    """How long a finished job's timeline is kept, in seconds."""

    events_seconds: float
    idempotency_seconds: float = IDEMPOTENCY_SECONDS


class Housekeeping:
    """Safe to run on every replica: what one has deleted, another finds gone."""

    def __init__(self, database: AnyDatabase, retention: Retention) -> None:
        self._database = database
        self._retention = retention

    async def run(self) -> None:
        """One round after the other, an hour apart."""
        while True:
            await self.tidy(now=time.time())
            await asyncio.sleep(ROUND_SECONDS)

    async def tidy(self, *, now: float) -> int:
        """Forget everything that is due; how many rows that were."""
        forgotten = 0
        for table, column, keep in (
            (EVENTS, EVENTS.c.at, self._retention.events_seconds),
            (KEYS, KEYS.c.created_at, self._retention.idempotency_seconds),
        ):
            while True:
                async with self._database.transaction() as session:
                    few = await _forget(session, table, column < now - keep)
                forgotten += few
                if few < AT_A_TIME:
                    break
        if forgotten:
            logger.info("forgot %d old rows", forgotten)
        return forgotten


async def _forget(session: AsyncSession, table: Table, old: ColumnElement[bool]) -> int:
    key = tuple_(*table.primary_key.columns)
    due = select(*table.primary_key.columns).where(old).limit(AT_A_TIME)
    count = await session.scalar(select(func.count()).select_from(due.subquery()))
    if count:
        await session.execute(delete(table).where(key.in_(due)))
    return int(count or 0)
