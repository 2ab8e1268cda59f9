"""Endpoints: the only writer of `webhook_endpoints`. These functions take a session and never commit."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from callbacks.signing import encode_secret
from infra.database.sqlite import CHANGE_LOG
from service.jobs.ids import new_id
from service.webhooks import delivery_log
from service.webhooks import ed25519 as asymmetric
from service.webhooks.models import (
    DELIVERIES,
    ENDPOINT_PREFIX,
    ENDPOINTS,
    DeliveryState,
    DisabledReason,
    Endpoint,
)
from service.webhooks.retry_policy import DISABLED_AFTER_SECONDS, FAILURE_WINDOW_RESET_SECONDS

SECRET_BYTES = 32
OVERLAP_SECONDS = 24 * 3_600.0
"""For so long after a rotation both secrets sign."""
DEFAULT_EVENTS = (EventType.STARTED, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
"""What an endpoint is told of unless it says otherwise: everything but progress."""

AT_A_TIME: Final = 500
_theirs = and_(
    DELIVERIES.c.endpoint_id.in_(bindparam("endpoints", expanding=True)),
    DELIVERIES.c.state == literal_column("'pending'"),
)
_few = (
    select(DELIVERIES.c.delivery_id)
    .where(_theirs)
    .order_by(
        DELIVERIES.c.endpoint_id, DELIVERIES.c.next_at
    )  # by the index on what is pending, past a long log
    .limit(AT_A_TIME)
    .with_for_update(skip_locked=True)
)

# For endpoints that are disabled or gone. The lease stays: an attempt may be under way, and newer news waits for it.
FAIL_PENDING = (
    update(DELIVERIES)
    .where(DELIVERIES.c.delivery_id.in_(_few))
    .values(state=DeliveryState.FAILED.value, ended_at=bindparam("now"))
)


async def create(
    session: AsyncSession,
    user_id: str,
    url: str,
    *,
    events: Sequence[str] = DEFAULT_EVENTS,
    description: str = "",
    job_id: str | None = None,
    ed25519: bool = False,
    now: float,
) -> Endpoint:
    """A new endpoint, with a secret of its own: of the user, or of one export."""
    values = {
        "endpoint_id": ENDPOINT_PREFIX + new_id(now),
        "user_id": user_id,
        "job_id": job_id,
        "url": url,
        "description": description,
        "events": ",".join(events),
        "secret": _new_secret(),
        "signing_key": _new_signing_key() if ed25519 else None,
        "enabled": True,
        "created_at": now,
    }
    row = (await session.execute(insert(ENDPOINTS).values(values).returning(ENDPOINTS))).mappings().one()
    return endpoint_from_row(row)


async def get(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """One of the user's endpoints, or of their exports'."""
    found = await session.execute(select(ENDPOINTS).where(_is(user_id, endpoint_id)))
    row = found.mappings().one_or_none()
    return endpoint_from_row(row) if row else None


async def list_by_user(session: AsyncSession, user_id: str) -> list[Endpoint]:
    """The user's own endpoints, oldest first."""
    mine = select(ENDPOINTS).where(ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    rows = await session.execute(mine.order_by(ENDPOINTS.c.endpoint_id))
    return [endpoint_from_row(row) for row in rows.mappings()]


async def list_by_job(session: AsyncSession, user_id: str, job_id: str) -> list[Endpoint]:
    """The endpoints of one export alone."""
    own = select(ENDPOINTS).where(ENDPOINTS.c.job_id == job_id, ENDPOINTS.c.user_id == user_id)
    return [endpoint_from_row(row) for row in (await session.execute(own)).mappings()]


async def list_by_ids(session: AsyncSession, endpoint_ids: Sequence[str]) -> list[Endpoint]:
    """Endpoints by id, whoever's they are."""
    found = select(ENDPOINTS).where(ENDPOINTS.c.endpoint_id.in_(endpoint_ids))
    return [endpoint_from_row(row) for row in (await session.execute(found)).mappings()]


async def count(session: AsyncSession, user_id: str) -> int:
    """How many endpoints the user has, those of single exports aside."""
    mine = (ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    return int((await session.execute(select(func.count()).select_from(ENDPOINTS).where(*mine))).scalar_one())


async def update_fields(
    session: AsyncSession, user_id: str, endpoint_id: str, values: Mapping[str, object]
) -> Endpoint | None:
    """Set what its owner may: url, description, events."""
    return await _update(session, _is(user_id, endpoint_id), values)


async def enable(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """Begin anew, whatever it was disabled for."""
    anew = dict.fromkeys(("disabled_reason", "disabled_at", "failing_since", "failed_at"))
    values = {"enabled": True} | anew
    return await _update(session, _is(user_id, endpoint_id), values)


async def disable(
    session: AsyncSession, endpoint_id: str, reason: DisabledReason, *, now: float
) -> Endpoint | None:
    """Send it nothing more; what waits for it has failed. None if it was disabled before.

    Of a long backlog only the beginning ends here: the deliverer ends the rest, little by little.
    """
    enabled = and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.enabled)
    values = {"enabled": False, "disabled_reason": reason.value, "disabled_at": now}
    disabled = await _update(session, enabled, values)
    if disabled is not None:
        await session.execute(FAIL_PENDING, {"endpoints": [endpoint_id], "now": now})
        session.info.setdefault(CHANGE_LOG, []).append((endpoint_id, disabled.user_id))
    return disabled


async def lock_failing(session: AsyncSession, *, well: Collection[str], ill: Collection[str]) -> bool:
    """Lock those rows that `succeeded` and `failed` will change, in one order for all; whether there are any.

    Whoever changes an endpoint and its deliveries begins with the endpoint: nobody waits for each other.
    """
    recovering = and_(ENDPOINTS.c.endpoint_id.in_(well), ENDPOINTS.c.failing_since.is_not(None))
    either = select(ENDPOINTS.c.endpoint_id).where(or_(recovering, ENDPOINTS.c.endpoint_id.in_(ill)))
    locked = await session.execute(either.order_by(ENDPOINTS.c.endpoint_id).with_for_update())
    return bool(locked.all())


async def record_success(session: AsyncSession, endpoint_ids: Collection[str]) -> None:
    """They answer as they should."""
    failing = and_(ENDPOINTS.c.endpoint_id.in_(endpoint_ids), ENDPOINTS.c.failing_since.is_not(None))
    await session.execute(update(ENDPOINTS).where(failing).values(failing_since=None, failed_at=None))


async def record_failure(
    session: AsyncSession, endpoint_ids: Collection[str], *, now: float
) -> list[Endpoint]:
    """They have failed once more; those that have for too long and are disabled for it."""
    these = and_(ENDPOINTS.c.endpoint_id.in_(endpoint_ids), ENDPOINTS.c.enabled)
    since = ENDPOINTS.c.failing_since
    anew = or_(since.is_(None), ENDPOINTS.c.failed_at < now - FAILURE_WINDOW_RESET_SECONDS)
    counted = {"failing_since": case((anew, now), else_=since), "failed_at": now}
    await session.execute(update(ENDPOINTS).where(these).values(counted))
    too_long = and_(these, since <= now - DISABLED_AFTER_SECONDS)
    found = (await session.execute(select(ENDPOINTS.c.endpoint_id).where(too_long))).scalars().all()
    disabled = [await disable(session, one, DisabledReason.FAILING, now=now) for one in found]
    return [one for one in disabled if one is not None]


async def fail_pending(session: AsyncSession, endpoint_ids: Sequence[str], *, now: float) -> bool:
    """What waits for endpoints that are disabled or gone has failed; whether any did, and there may be more.

    Little by little, and again whenever something is found: a transaction that saw the endpoint as it was may have
    written another delivery since.
    """
    these = ENDPOINTS.c.endpoint_id.in_(endpoint_ids)
    disabled = select(ENDPOINTS.c.endpoint_id).where(these, ~ENDPOINTS.c.enabled)
    # Nobody enables them meanwhile; and nobody is waited for, since deliveries may be locked already.
    locked = await session.execute(disabled.with_for_update(skip_locked=True))
    there = await session.execute(select(ENDPOINTS.c.endpoint_id).where(these))
    dead = {*endpoint_ids}.difference(there.scalars()).union(locked.scalars())
    given_up = FAIL_PENDING.returning(DELIVERIES.c.delivery_id)
    found = (await session.execute(given_up, {"endpoints": sorted(dead), "now": now})).scalars().all()
    await delivery_log.mark_interrupted(session, found)
    return bool(found)


async def rotate_secret(session: AsyncSession, endpoint: Endpoint, *, now: float) -> Endpoint | None:
    """A new secret; the one before goes on signing beside it for a day. None if another rotation came between."""
    current = and_(_is(endpoint.user_id, endpoint.endpoint_id), ENDPOINTS.c.secret == endpoint.secret)
    values = {
        "secret": _new_secret(),
        "previous_secret": endpoint.secret,
        "signing_key": _new_signing_key() if endpoint.signing_key else None,
        "previous_signing_key": endpoint.signing_key,
        "previous_until": now + OVERLAP_SECONDS,
    }
    return await _update(session, current, values)


async def remove(session: AsyncSession, user_id: str, endpoint_id: str) -> bool:
    """The endpoint goes; its deliveries are for `forget`."""
    gone = await session.execute(
        delete(ENDPOINTS).where(_is(user_id, endpoint_id)).returning(ENDPOINTS.c.endpoint_id)
    )
    return gone.one_or_none() is not None


async def delete_deliveries(session: AsyncSession, endpoint_id: str) -> bool:
    """The deliveries of an endpoint that is gone, little by little; whether there may be more.

    The log of attempts is forgotten with the old ones, and so is what is left if this is never called to the end.
    """
    theirs = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.endpoint_id == endpoint_id)
    few = theirs.order_by(DELIVERIES.c.delivery_id).limit(AT_A_TIME).with_for_update()
    forgotten = (
        delete(DELIVERIES).where(DELIVERIES.c.delivery_id.in_(few)).returning(DELIVERIES.c.delivery_id)
    )
    return len((await session.execute(forgotten)).all()) == AT_A_TIME


def endpoint_from_row(row: Mapping[Any, Any]) -> Endpoint:
    """A row as the value that travels."""
    return msgspec.convert({**row, "enabled": bool(row["enabled"])}, Endpoint)


def _new_secret() -> str:
    return encode_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> str:
    return asymmetric.encode_private(asymmetric.private_key(secrets.token_bytes(asymmetric.SEED_BYTES)))


def _is(user_id: str, endpoint_id: str) -> ColumnElement[bool]:
    return and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.user_id == user_id)


async def _update(
    session: AsyncSession, where: ColumnElement[bool], values: Mapping[str, object]
) -> Endpoint | None:
    changed = update(ENDPOINTS).where(where).values(dict(values)).returning(ENDPOINTS)
    row = (await session.execute(changed)).mappings().one_or_none()
    return endpoint_from_row(row) if row else None
