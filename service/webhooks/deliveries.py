"""The outbox's other end: claim what is due, record what came of it. The only writer of deliveries besides the outbox.

These functions take a session and never commit.

An event waits for older ones of the same export and endpoint that are under way or were never sent; one that has
failed once is dropped as soon as there is a newer one, and progress even before. So whoever fails to take one event
holds up no later one, and no state is ever followed by an older one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from callbacks.retry import Random
from service.webhooks import delivery_log, endpoints
from service.webhooks.models import ATTEMPTS, DELIVERIES, Delivery, DeliveryState, DisabledReason, Endpoint
from service.webhooks.ordering import in_flight_json, is_blocked
from service.webhooks.retry_policy import (
    PROGRESS_LIFETIME_SECONDS,
    TEST_EVENT,
    AttemptResult,
    next_attempt_at,
)

_COMPLETED = text("""
UPDATE webhook_attempts SET seconds = :took, status = :answered, error_code = :code, error_message = :says,
    excerpt = :kept
WHERE delivery_id = :delivery AND attempt = :number
""")
# A success counts whoever made it.
_DELIVERED = text("""
UPDATE webhook_deliveries SET state = 'delivered', ended_at = :now, lease_until = NULL
WHERE delivery_id = :delivery AND state <> 'delivered'
""")
# A failure counts only if nobody has begun another attempt since; of what was given up meanwhile just the lease ends.
_FAILED = text("""
UPDATE webhook_deliveries SET
    tries = CASE WHEN state = 'pending' THEN :tried ELSE tries END,
    next_at = CASE WHEN state = 'pending' THEN :again ELSE next_at END,
    scheduled_at = CASE WHEN state = 'pending' THEN :now ELSE scheduled_at END,
    ended_at = CASE WHEN state = 'pending' THEN :over_at ELSE ended_at END,
    state = CASE WHEN state = 'pending' THEN :then ELSE state END, lease_until = NULL
WHERE delivery_id = :delivery AND attempts = :number
""")


@dataclass(frozen=True)
class ClaimedDelivery:
    """An attempt to make: it is in the log already."""

    delivery: Delivery
    endpoint: Endpoint


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt that was made."""

    delivery: Delivery
    result: AttemptResult


async def supersede_stale(session: AsyncSession, delivery_ids: Sequence[str], *, now: float) -> set[str]:
    """Drop those that newer news has overtaken, and progress that is no news any more; their ids."""
    newer = DELIVERIES.alias("newer")
    overtaken = exists().where(
        newer.c.endpoint_id == DELIVERIES.c.endpoint_id,
        newer.c.job_id == DELIVERIES.c.job_id,
        newer.c.sequence > DELIVERIES.c.sequence,
    )
    is_progress = DELIVERIES.c.type == EventType.PROGRESS.value
    old = and_(is_progress, DELIVERIES.c.created_at < now - PROGRESS_LIFETIME_SECONDS)
    stale = and_(
        _due(delivery_ids, now),
        ~DELIVERIES.c.requested,
        or_(and_(or_(DELIVERIES.c.tries > 0, is_progress), overtaken), old),
    )
    free = select(DELIVERIES.c.delivery_id).where(stale).with_for_update(skip_locked=True)
    values = {"state": DeliveryState.SUPERSEDED.value, "ended_at": now, "lease_until": None}
    these = DELIVERIES.c.delivery_id.in_(free)
    dropped = update(DELIVERIES).where(these).values(values).returning(DELIVERIES.c.delivery_id)
    found = set((await session.execute(dropped)).scalars())
    await delivery_log.mark_interrupted(session, sorted(found))
    return found


async def claim(
    session: AsyncSession,
    delivery_ids: Sequence[str],
    *,
    lease_seconds: float,
    now: float,
    in_flight_here: Sequence[str] = (),
) -> list[ClaimedDelivery]:
    """Lease what is due to whoever is about to send it, and log the attempts that are now begun."""
    if not delivery_ids:
        return []
    # Progress that was replaced since it was found due may tell of what has to wait for another event.
    blocked = is_blocked(DELIVERIES.name, session.get_bind().dialect.name)
    unblocked = text(f"NOT {blocked}").bindparams(now=now, here=in_flight_json(in_flight_here))
    ready = select(DELIVERIES.c.delivery_id).where(_due(delivery_ids, now), unblocked)
    free = ready.with_for_update(skip_locked=True)
    values = {
        "lease_until": now + lease_seconds,
        "next_at": now + lease_seconds,
        "scheduled_at": now,
        "attempts": DELIVERIES.c.attempts + 1,
    }
    leased = update(DELIVERIES).where(DELIVERIES.c.delivery_id.in_(free)).values(values).returning(DELIVERIES)
    found = [delivery_from_row(row) for row in (await session.execute(leased)).mappings()]
    if not found:
        return []
    await _log(session, found, now)
    concerned = await endpoints.list_by_ids(session, list({one.endpoint_id for one in found}))
    enabled = {one.endpoint_id: one for one in concerned if one.enabled}
    return [ClaimedDelivery(one, enabled[one.endpoint_id]) for one in found if one.endpoint_id in enabled]


async def record_results(
    session: AsyncSession, finished: Sequence[FinishedAttempt], *, random: Random, now: float
) -> list[Endpoint]:
    """Write down what came of attempts; the endpoints that are disabled for it."""
    if not finished:
        return []
    well = {one.delivery.endpoint_id for one in finished if one.result.is_delivered}
    gone = {one.delivery.endpoint_id for one in finished if one.result.is_gone}
    blamed = [one for one in finished if one.delivery.type != TEST_EVENT and not one.result.is_local_fault]
    ill = {one.delivery.endpoint_id for one in blamed} - well
    troubled = await endpoints.lock_failing(session, well=well, ill=ill | gone)
    await _lock(session, finished)
    if delivered := [_attempt(one.delivery) | {"now": now} for one in finished if one.result.is_delivered]:
        await session.execute(_DELIVERED, delivered)
        # Another attempt may have been begun since by somebody who could not send it: nobody will make one after it.
        await delivery_log.mark_interrupted(
            session, [one.delivery.delivery_id for one in finished if one.result.is_delivered]
        )
    if failures := [_failure(one, random=random, now=now) for one in finished if not one.result.is_delivered]:
        await session.execute(_FAILED, failures)
    await session.execute(_COMPLETED, [_logged(one) for one in finished])
    if not troubled:
        return []
    await endpoints.record_success(session, well)
    disabled = [await endpoints.disable(session, one, DisabledReason.GONE, now=now) for one in sorted(gone)]
    disabled += await endpoints.record_failure(session, ill, now=now)
    return [endpoint for endpoint in disabled if endpoint is not None]


async def release_mark_interrupted(session: AsyncSession, begun: Sequence[Delivery], *, now: float) -> None:
    """Attempts that were cut off by a shutdown are made again at once, by whoever comes next."""
    released = _due_at(now)
    for one in begun:
        current = and_(_is_current(one), DELIVERIES.c.state == DeliveryState.PENDING.value)
        await session.execute(update(DELIVERIES).where(current).values(released))


async def release_all(session: AsyncSession, *, now: float) -> None:
    """Nobody is sending anything: what was under way is due again."""
    leased = and_(DELIVERIES.c.state == DeliveryState.PENDING.value, DELIVERIES.c.lease_until > now)
    await session.execute(update(DELIVERIES).where(leased).values(_due_at(now)))


def delivery_from_row(row: Mapping[Any, Any]) -> Delivery:
    """A row as the value that travels."""
    return msgspec.convert({**row, "requested": bool(row["requested"])}, Delivery)


def _due(delivery_ids: Sequence[str], now: float) -> ColumnElement[bool]:
    return and_(
        DELIVERIES.c.delivery_id.in_(delivery_ids),
        DELIVERIES.c.state == DeliveryState.PENDING.value,
        DELIVERIES.c.next_at <= now,
    )


def _due_at(now: float) -> dict[str, float]:
    return {"next_at": now, "lease_until": now, "scheduled_at": now}


def _is_current(one: Delivery) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.delivery_id == one.delivery_id, DELIVERIES.c.attempts == one.attempts)


async def _lock(session: AsyncSession, finished: Sequence[FinishedAttempt]) -> None:
    """Endpoints, then deliveries, then the log, each by its id: whoever comes late with what another has in hand waits.

    In any other order two replicas could wait for each other.
    """
    ids = [one.delivery.delivery_id for one in finished]
    these = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.delivery_id.in_(ids))
    await session.execute(these.order_by(DELIVERIES.c.delivery_id).with_for_update())


def _attempt(one: Delivery) -> dict[str, object]:
    return {"delivery": one.delivery_id, "number": one.attempts}


def _failure(one: FinishedAttempt, *, random: Random, now: float) -> dict[str, object]:
    """What `_FAILED` takes: pending until the next try, or failed for good."""
    tries = one.delivery.tries + (0 if one.result.is_local_fault else 1)
    again = next_attempt_at(one.delivery.type, tries, one.result, now=now, random=random)
    over = again is None or one.result.is_gone
    return _attempt(one.delivery) | {
        "then": DeliveryState.FAILED.value if over else DeliveryState.PENDING.value,
        "tried": tries,
        "again": now if again is None else again,
        "over_at": now if over else None,
        "now": now,
    }


async def _log(session: AsyncSession, begun: Sequence[Delivery], now: float) -> None:
    """The attempts that are begun; those before them that nobody completed were interrupted."""
    await delivery_log.mark_interrupted(session, [one.delivery_id for one in begun if one.attempts > 1])
    rows = [{"delivery_id": one.delivery_id, "attempt": one.attempts, "at": now} for one in begun]
    await session.execute(insert(ATTEMPTS), rows)


def _logged(one: FinishedAttempt) -> dict[str, object]:
    """What `_COMPLETED` takes."""
    result = one.result
    return _attempt(one.delivery) | {
        "took": result.seconds,
        "answered": result.status,
        "code": result.error_code,
        "says": result.error_message,
        "kept": result.excerpt,
    }
