"""Enable and disable endpoints, by request or for their failures.

These functions take a session and never commit.
"""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Float, and_, bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import CHANGE_LOG
from infra.database.batches import lock_batch
from service.webhooks import delivery_log
from service.webhooks.endpoints import is_endpoint, update_where
from service.webhooks.models import DELIVERIES, ENDPOINTS, IS_PENDING, DeliveryState, DisabledReason, Endpoint
from service.webhooks.ordering import keep_lease
from service.webhooks.retry_policy import DISABLED_AFTER_SECONDS, FAILURE_WINDOW_RESET_SECONDS

BATCH_ROWS: Final = 500
_pending = and_(
    DELIVERIES.c.endpoint_id.in_(bindparam("endpoints", expanding=True)),
    IS_PENDING,
)
# In the order of the partial index on pending rows, so that a long log of ended ones is never read.
_pending_ids = (
    select(DELIVERIES.c.delivery_id).where(_pending).order_by(DELIVERIES.c.endpoint_id, DELIVERIES.c.next_at)
)

_now = bindparam("now", type_=Float)

# The lease is kept: an attempt may be in flight, and newer events of the export wait until it ends.
_FAIL_PENDING: Final = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id.in_(lock_batch(_pending_ids, BATCH_ROWS, skip_locked=True)))
    .values(state=DeliveryState.FAILED.value, ended_at=_now, **keep_lease(_now))
)

_is_recovering = and_(
    ENDPOINTS.c.endpoint_id.in_(bindparam("succeeded", expanding=True)),
    ENDPOINTS.c.failing_since.is_not(None),
)
_has_failed = ENDPOINTS.c.endpoint_id.in_(bindparam("failed", expanding=True))
_LOCK_FAILING: Final = (
    select(ENDPOINTS.c.endpoint_id)
    .where(or_(_is_recovering, _has_failed))
    .order_by(ENDPOINTS.c.endpoint_id)
    .with_for_update()
)
_RECORD_SUCCESS: Final = update(ENDPOINTS).where(_is_recovering).values(failing_since=None, failed_at=None)


async def enable(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """Enable the endpoint and clear its failures, for any reason it was disabled for."""
    cleared = dict.fromkeys(("disabled_reason", "disabled_at", "failing_since", "failed_at"))
    return await update_where(session, is_endpoint(user_id, endpoint_id), {"enabled": True} | cleared)


async def disable(
    session: AsyncSession, endpoint_id: str, reason: DisabledReason, *, now: float
) -> Endpoint | None:
    """Disable the endpoint and fail its pending deliveries. None if it was disabled before.

    Only the first batch of a long backlog fails here; the delivery worker does the rest in batches.
    """
    is_enabled = and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.enabled)
    values = {"enabled": False, "disabled_reason": reason.value, "disabled_at": now}
    endpoint = await update_where(session, is_enabled, values)
    if endpoint is not None:
        await _fail_batch(session, [endpoint_id], now=now)
        session.info.setdefault(CHANGE_LOG, []).append((endpoint_id, endpoint.user_id))
    return endpoint


async def lock_failing(session: AsyncSession, *, succeeded: Collection[str], failed: Collection[str]) -> bool:
    """Lock the rows that results will change; return whether there are any.

    Every transaction that changes an endpoint and its deliveries locks the endpoint first, and endpoints in the order
    of their ids, so that no two transactions wait for each other.
    """
    values = {"succeeded": list(succeeded), "failed": list(failed)}
    return bool((await session.execute(_LOCK_FAILING, values)).all())


async def record_success(session: AsyncSession, endpoint_ids: Collection[str]) -> None:
    """End the failing period of the endpoints."""
    await session.execute(_RECORD_SUCCESS, {"succeeded": list(endpoint_ids)})


async def record_failure(
    session: AsyncSession, endpoint_ids: Collection[str], *, now: float
) -> list[Endpoint]:
    """Note a failure of each endpoint; disable and return those that fail for too long."""
    is_enabled = and_(ENDPOINTS.c.endpoint_id.in_(endpoint_ids), ENDPOINTS.c.enabled)
    since = ENDPOINTS.c.failing_since
    is_new_period = or_(since.is_(None), ENDPOINTS.c.failed_at < now - FAILURE_WINDOW_RESET_SECONDS)
    values = {"failing_since": case((is_new_period, now), else_=since), "failed_at": now}
    await session.execute(update(ENDPOINTS).where(is_enabled).values(values))
    is_too_long = and_(is_enabled, since <= now - DISABLED_AFTER_SECONDS)
    ids = (await session.execute(select(ENDPOINTS.c.endpoint_id).where(is_too_long))).scalars().all()
    disabled = [await disable(session, endpoint_id, DisabledReason.FAILING, now=now) for endpoint_id in ids]
    return [endpoint for endpoint in disabled if endpoint is not None]


async def fail_pending(session: AsyncSession, endpoint_ids: Sequence[str], *, now: float) -> bool:
    """Fail a batch of what is pending for inactive endpoints; return whether there is more.

    Inactive endpoints are disabled or deleted. The worker calls this whenever it sees such a delivery: a transaction
    that read the endpoint while it was enabled may commit another delivery after the endpoint was disabled.
    """
    is_named = ENDPOINTS.c.endpoint_id.in_(endpoint_ids)
    disabled = select(ENDPOINTS.c.endpoint_id).where(is_named, ~ENDPOINTS.c.enabled)
    # The lock keeps them disabled. It never waits, since this transaction may hold locks on deliveries already.
    locked = await session.execute(disabled.with_for_update(skip_locked=True))
    existing = await session.execute(select(ENDPOINTS.c.endpoint_id).where(is_named))
    inactive = {*endpoint_ids}.difference(existing.scalars()).union(locked.scalars())
    return await _fail_batch(session, sorted(inactive), now=now)


async def _fail_batch(session: AsyncSession, endpoint_ids: Sequence[str], *, now: float) -> bool:
    """Fail a batch of what is pending for the endpoints; return whether there was any.

    Attempts in flight are marked as interrupted until their results come: none does if the process dies before.
    """
    statement = _FAIL_PENDING.returning(DELIVERIES.c.delivery_id)
    failed_ids = (await session.execute(statement, {"endpoints": endpoint_ids, "now": now})).scalars().all()
    await delivery_log.mark_interrupted(session, failed_ids)
    return bool(failed_ids)
