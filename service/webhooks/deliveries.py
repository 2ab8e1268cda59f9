"""The outbox's other end: claim what is due, record what came of it. The only writer of deliveries besides the outbox.

These functions take a session and never commit.

An event waits for older ones of the same export and endpoint that are under way or were never sent; one that has
failed once is dropped as soon as there is a newer one, and progress even before. So whoever fails to take one event
holds up no later one, and no state is ever followed by an older one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from callbacks.retry import Random
from service.webhooks import endpoints
from service.webhooks.schedule import TEST_EVENT, Result, next_try
from service.webhooks.tables import ATTEMPTS, DELIVERIES, Delivery, DeliveryState, Endpoint

# Endpoint by endpoint, by the index on what is pending: a backlog of one costs the others nothing.
_WAITING = """
WITH RECURSIVE waiting (endpoint_id) AS (
    SELECT min(endpoint_id) FROM webhook_deliveries WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(later.endpoint_id) FROM webhook_deliveries AS later
        WHERE later.state = 'pending' AND later.endpoint_id > waiting.endpoint_id)
    FROM waiting WHERE waiting.endpoint_id IS NOT NULL
)
SELECT endpoint.endpoint_id, endpoint.failing_since, (SELECT {json_array}(few.delivery_id) FROM (
    SELECT due.delivery_id FROM webhook_deliveries AS due
    WHERE due.endpoint_id = endpoint.endpoint_id AND due.state = 'pending' AND due.next_at <= :now
        AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS older
            WHERE older.endpoint_id = due.endpoint_id AND older.job_id = due.job_id
                AND older.sequence < due.sequence AND older.state = 'pending'
                AND (older.lease_until > :now OR (older.tries = 0 AND older.type <> 'export.progress')))
    ORDER BY due.next_at LIMIT :each) AS few)
FROM waiting JOIN webhook_endpoints AS endpoint ON endpoint.endpoint_id = waiting.endpoint_id
WHERE endpoint.enabled
"""
_WAITING_IN = {
    "sqlite": text(_WAITING.format(json_array="json_group_array")),
    "postgresql": text(_WAITING.format(json_array="json_agg")),
}

INTERRUPTED = "The service stopped before it knew what came of this."


@dataclass(frozen=True)
class Waiting:
    """What is due for one endpoint."""

    endpoint_id: str
    failing: bool
    due: tuple[str, ...]


@dataclass(frozen=True)
class Claimed:
    """An attempt to make: it is in the log already."""

    delivery: Delivery
    endpoint: Endpoint


@dataclass(frozen=True)
class Finished:
    """An attempt that was made."""

    delivery: Delivery
    result: Result


async def waiting(session: AsyncSession, *, each: int, now: float) -> list[Waiting]:
    """What is due, at most `each` for an endpoint."""
    asked = _WAITING_IN[session.get_bind().dialect.name]
    rows = (await session.execute(asked, {"now": now, "each": each})).all()
    found = [(row[0], row[1] is not None, _ids(row[2])) for row in rows]
    return [Waiting(endpoint_id, failing, due) for endpoint_id, failing, due in found if due]


async def supersede(session: AsyncSession, delivery_ids: Sequence[str], *, now: float) -> set[str]:
    """Drop those that newer news has overtaken; their ids."""
    newer = DELIVERIES.alias("newer")
    overtaken = exists().where(
        newer.c.endpoint_id == DELIVERIES.c.endpoint_id,
        newer.c.job_id == DELIVERIES.c.job_id,
        newer.c.sequence > DELIVERIES.c.sequence,
    )
    stale = and_(
        _due(delivery_ids, now),
        ~DELIVERIES.c.requested,
        or_(DELIVERIES.c.tries > 0, DELIVERIES.c.type == EventType.PROGRESS.value),
        overtaken,
    )
    values = {"state": DeliveryState.SUPERSEDED.value, "ended_at": now, "lease_until": None}
    dropped = update(DELIVERIES).where(stale).values(values).returning(DELIVERIES.c.delivery_id)
    return set((await session.execute(dropped)).scalars())


async def claim(
    session: AsyncSession, delivery_ids: Sequence[str], *, lease_seconds: float, now: float
) -> list[Claimed]:
    """Lease what is due to whoever is about to send it, and log the attempts that are now begun."""
    if not delivery_ids:
        return []
    free = select(DELIVERIES.c.delivery_id).where(_due(delivery_ids, now)).with_for_update(skip_locked=True)
    values = {
        "lease_until": now + lease_seconds,
        "next_at": now + lease_seconds,
        "attempts": DELIVERIES.c.attempts + 1,
    }
    leased = update(DELIVERIES).where(DELIVERIES.c.delivery_id.in_(free)).values(values).returning(DELIVERIES)
    found = [as_delivery(row) for row in (await session.execute(leased)).mappings()]
    if not found:
        return []
    await _log(session, found, now)
    by_id = {
        one.endpoint_id: one
        for one in await endpoints.by_ids(session, list({one.endpoint_id for one in found}))
    }
    return [Claimed(one, by_id[one.endpoint_id]) for one in found if one.endpoint_id in by_id]


async def record(
    session: AsyncSession, finished: Sequence[Finished], *, random: Random, now: float
) -> list[Endpoint]:
    """Write down what came of attempts; the endpoints that are disabled for it."""
    disabled: list[Endpoint | None] = []
    for one in finished:
        await _complete_log(session, one)
        await session.execute(
            update(DELIVERIES).where(_is_attempt(one)).values(_after(one, random=random, now=now))
        )
    healthy = {one.delivery.endpoint_id for one in finished if one.result.delivered}
    if healthy:
        await endpoints.succeeded(session, sorted(healthy))
    for one in finished:
        endpoint_id = one.delivery.endpoint_id
        if one.result.gone:
            disabled.append(await endpoints.disable(session, endpoint_id, endpoints.GONE, now=now))
        elif not one.result.delivered and endpoint_id not in healthy and one.delivery.type != TEST_EVENT:
            disabled.append(await endpoints.failed(session, endpoint_id, now=now))
    return [endpoint for endpoint in disabled if endpoint is not None]


async def release(session: AsyncSession, begun: Sequence[Delivery], *, now: float) -> None:
    """Attempts that were cut off by a shutdown are made again at once, by whoever comes next."""
    for one in begun:
        current = and_(_is_current(one), DELIVERIES.c.state == DeliveryState.PENDING.value)
        await session.execute(update(DELIVERIES).where(current).values(next_at=now, lease_until=now))


def as_delivery(row: Mapping[Any, Any]) -> Delivery:
    """A row as the value that travels."""
    return msgspec.convert({**row, "requested": bool(row["requested"])}, Delivery)


def _due(delivery_ids: Sequence[str], now: float) -> ColumnElement[bool]:
    return and_(
        DELIVERIES.c.delivery_id.in_(delivery_ids),
        DELIVERIES.c.state == DeliveryState.PENDING.value,
        DELIVERIES.c.next_at <= now,
    )


def _is_current(one: Delivery) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.delivery_id == one.delivery_id, DELIVERIES.c.attempts == one.attempts)


def _is_attempt(one: Finished) -> ColumnElement[bool]:
    """A success counts whoever made it; a failure only if nobody has begun another attempt since."""
    if one.result.delivered:
        return and_(
            DELIVERIES.c.delivery_id == one.delivery.delivery_id,
            DELIVERIES.c.state != DeliveryState.DELIVERED.value,
        )
    return and_(_is_current(one.delivery), DELIVERIES.c.state == DeliveryState.PENDING.value)


def _after(one: Finished, *, random: Random, now: float) -> dict[str, object]:
    ended: dict[str, object] = {"ended_at": now, "lease_until": None}
    if one.result.delivered:
        return ended | {"state": DeliveryState.DELIVERED.value}
    tries = one.delivery.tries + 1
    again = next_try(one.delivery.type, tries, one.result, now=now, random=random)
    if again is None or one.result.gone:
        return ended | {"state": DeliveryState.FAILED.value, "tries": tries}
    return {"tries": tries, "next_at": again, "lease_until": None}


async def _log(session: AsyncSession, begun: Sequence[Delivery], now: float) -> None:
    """The attempts that are begun; those before them that nobody completed were interrupted."""
    again = [one.delivery_id for one in begun if one.attempts > 1]
    if again:
        open_ = and_(
            ATTEMPTS.c.delivery_id.in_(again), ATTEMPTS.c.seconds.is_(None), ATTEMPTS.c.error_code.is_(None)
        )
        cut_off = {"error_code": "interrupted", "error_message": INTERRUPTED}
        await session.execute(update(ATTEMPTS).where(open_).values(cut_off))
    rows = [{"delivery_id": one.delivery_id, "attempt": one.attempts, "at": now} for one in begun]
    await session.execute(insert(ATTEMPTS), rows)


async def _complete_log(session: AsyncSession, one: Finished) -> None:
    result = one.result
    this = and_(
        ATTEMPTS.c.delivery_id == one.delivery.delivery_id, ATTEMPTS.c.attempt == one.delivery.attempts
    )
    values = {
        "seconds": result.seconds,
        "status": result.status,
        "error_code": result.error_code,
        "error_message": result.error_message,
        "excerpt": result.excerpt,
    }
    await session.execute(update(ATTEMPTS).where(this).values(values))


def _ids(array: Any) -> tuple[str, ...]:
    """A JSON array: text in SQLite, decoded in PostgreSQL, nothing where there is nothing."""
    return tuple(json.loads(array) if isinstance(array, str) else array or ())
