"""Send what an owner requests: one delivery again, or all that was missed.

These functions take a session and never commit.
"""

from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.serializers import JobSerializer
from service.webhooks.missed_events import KINDS, PastEvent, Search
from service.webhooks.models import DELIVERIES, Delivery, DeliveryState, Endpoint, delivery_from_row
from service.webhooks.outbox import INSERT_DELIVERY

Position = tuple[int, str]
"""Where a recovery goes on: at which kind of event, and after which id."""
START: Final[Position] = (0, "")
_insert: Final = text(INSERT_DELIVERY)


async def redeliver(session: AsyncSession, delivery: Delivery, *, now: float) -> Delivery | None:
    """Make the delivery due at once; None while an attempt is in flight, or if its body was erased.

    The retry schedule starts again.
    """
    is_free = and_(
        DELIVERIES.c.delivery_id == delivery.delivery_id,
        DELIVERIES.c.payload != "",
        or_(DELIVERIES.c.state != DeliveryState.PENDING.value, _is_unsent(now)),
    )
    return await _requeue(session, is_free, now, requested=True)


async def recover_missed(
    session: AsyncSession,
    endpoint: Endpoint,
    serializer: JobSerializer,
    *,
    since: float,
    position: Position = START,
    now: float,
) -> tuple[int, Position | None]:
    """Requeue final events and notices since a time that the endpoint wants and has not received.

    Each call ends after a full batch of one kind of event. Return how many deliveries are due now, and where the next
    batch begins or None at the end.
    """
    search = Search(session, endpoint, serializer, since, now)
    wanted = [list_past for types, list_past in KINDS if not types.isdisjoint(endpoint.event_types)]
    count, (kind, after) = 0, position
    for list_past in wanted[kind:]:
        events, last = await list_past(search, after)
        for event in events:
            count += await _send_missed(search, event)
        if last is not None:
            return count, (kind, last)
        kind, after = kind + 1, ""
    return count, None


async def _send_missed(search: Search, event: PastEvent) -> bool:
    """Make one delivery due, unless it was delivered or is about to be sent."""
    is_same = and_(DELIVERIES.c.endpoint_id == search.endpoint.endpoint_id, event.is_same)
    has_ended = DELIVERIES.c.state.in_((DeliveryState.FAILED.value, DeliveryState.SUPERSEDED.value))
    # A delivery that waits for its next attempt need not wait: the owner says that the endpoint is back.
    is_retrying = and_(
        DELIVERIES.c.state == DeliveryState.PENDING.value, DELIVERIES.c.tries > 0, _is_unsent(search.now)
    )
    # Not marked as requested: a newer event of the export may still supersede it.
    is_missed = and_(is_same, or_(has_ended, is_retrying))
    if await _requeue(search.session, is_missed, search.now, requested=False) is not None:
        return True
    if event.build is None or (await search.session.execute(select(exists().where(is_same)))).scalar_one():
        return False
    await search.session.execute(_insert, event.build())
    return True


def _is_unsent(now: float) -> ColumnElement[bool]:
    """Return the condition that no attempt is in flight."""
    return or_(DELIVERIES.c.lease_until.is_(None), DELIVERIES.c.lease_until <= now)


async def _requeue(
    session: AsyncSession, condition: ColumnElement[bool], now: float, *, requested: bool
) -> Delivery | None:
    values = {
        "state": DeliveryState.PENDING.value,
        "tries": 0,
        "requested": requested,
        "next_at": now,
        "scheduled_at": now,
        "lease_until": now,  # with none, progress counts as never sent, and there may be newer progress
        "ended_at": None,
    }
    statement = update(DELIVERIES).where(condition).values(values).returning(DELIVERIES)
    row = (await session.execute(statement)).mappings().one_or_none()
    return delivery_from_row(row) if row else None
