"""Claim due deliveries and record the results of attempts.

These functions take a session and never commit.

An event waits for older events of the same export and endpoint that are in flight or were never sent (`ordering`). An
event that has failed once is dropped as soon as there is a newer one, progress even before its first attempt. So an
event that cannot be delivered delays no later one, and a consumer never receives an older state after a newer one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.retry import Random
from infra.database.base import dialect_of
from service.clock import SLACK_SECONDS
from service.webhooks import delivery_log, endpoint_status, endpoints
from service.webhooks.delivery_statements import (
    LOCK_DELIVERIES,
    SET_DELIVERED,
    SET_FAILED,
    SUPERSEDE_STALE,
    lease_statement,
)
from service.webhooks.models import (
    DELIVERIES,
    IS_PENDING,
    Delivery,
    DeliveryState,
    DisabledReason,
    Endpoint,
    delivery_from_row,
)
from service.webhooks.ordering import in_flight_json
from service.webhooks.retry_policy import (
    PROGRESS_LIFETIME_SECONDS,
    TEST_EVENT,
    AttemptResult,
    next_attempt_at,
)


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this process has leased and is about to send."""

    delivery: Delivery
    endpoint: Endpoint


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt that has a result."""

    delivery: Delivery
    result: AttemptResult


async def supersede_stale(session: AsyncSession, delivery_ids: Sequence[str], *, now: float) -> set[str]:
    """Drop due deliveries that are outdated and return their ids.

    That is progress that is too old, and progress or failed deliveries that have a newer event.
    """
    values = {"ids": delivery_ids, "now": now, "oldest": now - PROGRESS_LIFETIME_SECONDS}
    superseded = set((await session.execute(SUPERSEDE_STALE, values)).scalars())
    await delivery_log.mark_interrupted(session, sorted(superseded))
    return superseded


async def claim(
    session: AsyncSession,
    delivery_ids: Sequence[str],
    *,
    lease_seconds: float,
    now: float,
    in_flight_here: Sequence[str] = (),
) -> list[ClaimedDelivery]:
    """Lease those of the deliveries that are still due, and log the start of their attempts."""
    if not delivery_ids:
        return []
    values = {
        "ids": delivery_ids,
        "now": now,
        "lease_until": now + lease_seconds,
        "here": in_flight_json(in_flight_here),
    }
    rows = (await session.execute(lease_statement(dialect_of(session)), values)).mappings()
    leased = [delivery_from_row(row) for row in rows]
    if not leased:
        return []
    await delivery_log.insert_started(session, leased, now=now)
    targets = await endpoints.list_by_ids(session, list({delivery.endpoint_id for delivery in leased}))
    enabled = {endpoint.endpoint_id: endpoint for endpoint in targets if endpoint.enabled}
    return [
        ClaimedDelivery(delivery, enabled[delivery.endpoint_id])
        for delivery in leased
        if delivery.endpoint_id in enabled
    ]


async def record_results(
    session: AsyncSession, finished: Sequence[FinishedAttempt], *, random: Random, now: float
) -> list[Endpoint]:
    """Store the results of attempts; return the endpoints that are disabled because of them."""
    if not finished:
        return []
    succeeded = {attempt.delivery.endpoint_id for attempt in finished if attempt.result.is_delivered}
    gone = {attempt.delivery.endpoint_id for attempt in finished if attempt.result.is_gone}
    failed = {attempt.delivery.endpoint_id for attempt in finished if _blames_endpoint(attempt)} - succeeded
    has_failing = await endpoint_status.lock_failing(session, succeeded=succeeded, failed=failed | gone)
    await _lock_deliveries(session, finished)
    await _update_deliveries(session, finished, random=random, now=now)
    await delivery_log.complete(session, [(attempt.delivery, attempt.result) for attempt in finished])
    if not has_failing:
        return []
    await endpoint_status.record_success(session, succeeded)
    disabled = [
        await endpoint_status.disable(session, endpoint_id, DisabledReason.GONE, now=now)
        for endpoint_id in sorted(gone)
    ]
    disabled += await endpoint_status.record_failure(session, failed, now=now)
    return [endpoint for endpoint in disabled if endpoint is not None]


async def release_interrupted(session: AsyncSession, deliveries: Sequence[Delivery], *, now: float) -> None:
    """Make deliveries due again whose attempts a shutdown has interrupted."""
    for delivery in deliveries:
        is_latest_attempt = and_(
            DELIVERIES.c.delivery_id == delivery.delivery_id,
            DELIVERIES.c.attempts == delivery.attempts,
            DELIVERIES.c.state == DeliveryState.PENDING.value,
        )
        await session.execute(update(DELIVERIES).where(is_latest_attempt).values(_due_values(now)))


async def release_all(session: AsyncSession, *, lease_seconds: float, now: float) -> None:
    """Make all leased deliveries due again; only safe while no process is sending.

    A longer lease, from before the time-out was made shorter, ends by itself.
    """
    # The index finds what was scheduled since the oldest lease: a long backlog is not read.
    is_recent = DELIVERIES.c.scheduled_at > now - lease_seconds - SLACK_SECONDS
    is_leased = and_(IS_PENDING, is_recent, DELIVERIES.c.lease_until > now)
    await session.execute(update(DELIVERIES).where(is_leased).values(_due_values(now)))


def _due_values(now: float) -> dict[str, float]:
    return {"next_at": now, "lease_until": now, "scheduled_at": now}


def _blames_endpoint(attempt: FinishedAttempt) -> bool:
    """Tell whether the result counts as a failure of the endpoint."""
    return not attempt.delivery.is_test and not attempt.result.is_local_fault


async def _lock_deliveries(session: AsyncSession, finished: Sequence[FinishedAttempt]) -> None:
    """Lock the deliveries in the order of their ids.

    All transactions lock endpoints first, then deliveries, then the log, each in the order of the ids. In any other
    order two replicas that record results of the same rows could deadlock.
    """
    ids = [attempt.delivery.delivery_id for attempt in finished]
    await session.execute(LOCK_DELIVERIES, {"ids": ids})


async def _update_deliveries(
    session: AsyncSession, finished: Sequence[FinishedAttempt], *, random: Random, now: float
) -> None:
    if delivered := [attempt.delivery for attempt in finished if attempt.result.is_delivered]:
        await session.execute(
            SET_DELIVERED, [_attempt_key(delivery) | {"now": now} for delivery in delivered]
        )
        # A later attempt may have been logged by a process that died before sending. There will be no other now.
        await delivery_log.mark_interrupted(session, [delivery.delivery_id for delivery in delivered])
    failures = [attempt for attempt in finished if not attempt.result.is_delivered]
    if failures:
        values = [_failure_values(attempt, random=random, now=now) for attempt in failures]
        await session.execute(SET_FAILED, values)


def _attempt_key(delivery: Delivery) -> dict[str, object]:
    return {"delivery_id": delivery.delivery_id, "attempt": delivery.attempts}


def _failure_values(attempt: FinishedAttempt, *, random: Random, now: float) -> dict[str, object]:
    """Return the parameters of `SET_FAILED`: the next attempt, or the end."""
    delivery, result = attempt.delivery, attempt.result
    tries = delivery.tries + (0 if result.is_local_fault else 1)
    event_type = TEST_EVENT if delivery.is_test else delivery.type
    next_at = next_attempt_at(event_type, tries, result, now=now, random=random)
    is_final = next_at is None or result.is_gone
    return _attempt_key(delivery) | {
        "state": DeliveryState.FAILED.value if is_final else DeliveryState.PENDING.value,
        "tries": tries,
        "next_at": now if next_at is None else next_at,
        "ended_at": now if is_final else None,
        "now": now,
    }
