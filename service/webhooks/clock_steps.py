"""Correct the times that were stored while the clock was ahead.

Otherwise deliveries would wait until the wrong moment. Every delay keeps its length: a retry in five minutes that was
scheduled a day ahead comes five minutes from now.
"""

from functools import partial
from typing import Any, Final

from sqlalchemy import Table, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.batches import lock_batch
from service.clock import SLACK_SECONDS
from service.webhooks.endpoints import OVERLAP_SECONDS
from service.webhooks.models import DELIVERIES, ENDPOINTS, IS_PENDING

BATCH_ROWS: Final = 500


async def correct_times(database: Database, *, lease_seconds: float, now: float) -> None:
    """Correct all times that are ahead of `now`, in small batches."""
    corrections = (_correct_endpoints, correct_pending, partial(correct_ended, lease_seconds=lease_seconds))
    for correct in corrections:
        may_be_more = True
        while may_be_more:
            async with database.transaction() as session:
                may_be_more = await correct(session, now=now)


async def _correct_endpoints(session: AsyncSession, *, now: float) -> bool:
    """Correct failing periods and secret overlaps; return whether there may be more."""
    limit = now + SLACK_SECONDS
    is_ahead = or_(
        ENDPOINTS.c.failing_since > limit,
        ENDPOINTS.c.failed_at > limit,
        ENDPOINTS.c.previous_until > limit + OVERLAP_SECONDS,
    )
    values = {
        "failing_since": _at_most(ENDPOINTS.c.failing_since, now),
        "failed_at": _at_most(ENDPOINTS.c.failed_at, now),
        "previous_until": _at_most(ENDPOINTS.c.previous_until, now + OVERLAP_SECONDS),
    }
    return await _correct(session, ENDPOINTS, ENDPOINTS.c.endpoint_id, is_ahead, values)


async def correct_pending(session: AsyncSession, *, now: float) -> bool:
    """Reschedule pending deliveries and their leases; return whether there may be more."""
    is_ahead = IS_PENDING & (DELIVERIES.c.scheduled_at > now + SLACK_SECONDS)
    values = {
        "next_at": now + DELIVERIES.c.next_at - DELIVERIES.c.scheduled_at,
        "lease_until": now + DELIVERIES.c.lease_until - DELIVERIES.c.scheduled_at,
        "created_at": _at_most(DELIVERIES.c.created_at, now),
        "scheduled_at": now,
    }
    return await _correct(session, DELIVERIES, DELIVERIES.c.delivery_id, is_ahead, values)


async def correct_ended(session: AsyncSession, *, lease_seconds: float, now: float) -> bool:
    """Correct ends, and leases that outlive them; return whether there may be more."""
    is_ahead = DELIVERIES.c.ended_at > now + SLACK_SECONDS
    values = {
        "ended_at": now,
        "lease_until": _at_most(DELIVERIES.c.lease_until, now + lease_seconds),
    }
    return await _correct(session, DELIVERIES, DELIVERIES.c.delivery_id, is_ahead, values)


def _at_most(column: Any, moment: float) -> Any:
    """Return the column, limited to `moment`; NULL stays NULL."""
    return case((column > moment, moment), else_=column)


async def _correct(session: AsyncSession, table: Table, key: Any, is_ahead: Any, values: Any) -> bool:
    """Correct a batch; a locked row gets new times from the transaction that locks it."""
    batch = lock_batch(select(key).where(is_ahead), BATCH_ROWS, skip_locked=True)
    corrected = await session.execute(update(table).where(key.in_(batch)).values(values).returning(key))
    return len(corrected.all()) == BATCH_ROWS
