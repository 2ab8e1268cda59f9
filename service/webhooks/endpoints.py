"""Endpoints: the only writer of `webhook_endpoints`. These functions take a session and never commit."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, insert, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from callbacks.signing import encode_secret
from infra.database import CHANGED
from service import asymmetric
from service.ids import new_id
from service.webhooks.schedule import DISABLED_AFTER_SECONDS
from service.webhooks.tables import DELIVERIES, ENDPOINT_PREFIX, ENDPOINTS, DeliveryState, Endpoint

SECRET_BYTES = 32
OVERLAP_SECONDS = 24 * 3_600.0
"""For so long after a rotation both secrets sign."""
USUAL_EVENTS = (EventType.STARTED, EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
"""What an endpoint is told of unless it says otherwise: everything but progress."""

BY_USER, GONE, FAILING = "disabled", "gone", "failing"


async def create(
    session: AsyncSession,
    user_id: str,
    url: str,
    *,
    events: Sequence[str] = USUAL_EVENTS,
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
    return as_endpoint(row)


async def get(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """One of the user's endpoints, or of their exports'."""
    found = await session.execute(select(ENDPOINTS).where(_is(user_id, endpoint_id)))
    row = found.mappings().one_or_none()
    return as_endpoint(row) if row else None


async def of_user(session: AsyncSession, user_id: str) -> list[Endpoint]:
    """The user's own endpoints, oldest first."""
    mine = select(ENDPOINTS).where(ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    rows = await session.execute(mine.order_by(ENDPOINTS.c.endpoint_id))
    return [as_endpoint(row) for row in rows.mappings()]


async def of_job(session: AsyncSession, user_id: str, job_id: str) -> list[Endpoint]:
    """The endpoints of one export alone."""
    own = select(ENDPOINTS).where(ENDPOINTS.c.job_id == job_id, ENDPOINTS.c.user_id == user_id)
    return [as_endpoint(row) for row in (await session.execute(own)).mappings()]


async def by_ids(session: AsyncSession, endpoint_ids: Sequence[str]) -> list[Endpoint]:
    """Endpoints by id, whoever's they are."""
    found = select(ENDPOINTS).where(ENDPOINTS.c.endpoint_id.in_(endpoint_ids))
    return [as_endpoint(row) for row in (await session.execute(found)).mappings()]


async def count(session: AsyncSession, user_id: str) -> int:
    """How many endpoints the user has, those of single exports aside."""
    mine = (ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    return int((await session.execute(select(func.count()).select_from(ENDPOINTS).where(*mine))).scalar_one())


async def change(
    session: AsyncSession, user_id: str, endpoint_id: str, values: Mapping[str, object]
) -> Endpoint | None:
    """Set what its owner may: url, description, events."""
    return await _changed(session, _is(user_id, endpoint_id), values)


async def enable(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """Begin anew, whatever it was disabled for."""
    values = {"enabled": True, "disabled_reason": None, "disabled_at": None, "failing_since": None}
    return await _changed(session, _is(user_id, endpoint_id), values)


async def disable(
    session: AsyncSession,
    endpoint_id: str,
    reason: str,
    *,
    now: float,
    where: ColumnElement[bool] | None = None,
) -> Endpoint | None:
    """Send it nothing more; what waits for it has failed. None if it was disabled before."""
    one = ENDPOINTS.c.endpoint_id == endpoint_id
    condition = and_(one, ENDPOINTS.c.enabled, true() if where is None else where)
    values = {"enabled": False, "disabled_reason": reason, "disabled_at": now}
    disabled = await _changed(session, condition, values)
    if disabled is not None:
        waiting = and_(
            DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.state == DeliveryState.PENDING.value
        )
        ended = {"state": DeliveryState.FAILED.value, "ended_at": now, "lease_until": None}
        await session.execute(update(DELIVERIES).where(waiting).values(ended))
        session.info.setdefault(CHANGED, []).append((endpoint_id, disabled.user_id))
    return disabled


async def succeeded(session: AsyncSession, endpoint_ids: Sequence[str]) -> None:
    """They answer as they should."""
    failing = and_(ENDPOINTS.c.endpoint_id.in_(endpoint_ids), ENDPOINTS.c.failing_since.is_not(None))
    await session.execute(update(ENDPOINTS).where(failing).values(failing_since=None))


async def failed(session: AsyncSession, endpoint_id: str, *, now: float) -> Endpoint | None:
    """It has failed once more; the endpoint, if it has for too long and is disabled for it."""
    first = and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.failing_since.is_(None))
    await session.execute(update(ENDPOINTS).where(first).values(failing_since=now))
    too_long = ENDPOINTS.c.failing_since <= now - DISABLED_AFTER_SECONDS
    return await disable(session, endpoint_id, FAILING, now=now, where=too_long)


async def rotate(session: AsyncSession, endpoint: Endpoint, *, now: float) -> Endpoint | None:
    """A new secret; the one before goes on signing beside it for a day. None if another rotation came between."""
    current = and_(_is(endpoint.user_id, endpoint.endpoint_id), ENDPOINTS.c.secret == endpoint.secret)
    values = {
        "secret": _new_secret(),
        "previous_secret": endpoint.secret,
        "signing_key": _new_signing_key() if endpoint.signing_key else None,
        "previous_signing_key": endpoint.signing_key,
        "previous_until": now + OVERLAP_SECONDS,
    }
    return await _changed(session, current, values)


async def remove(session: AsyncSession, user_id: str, endpoint_id: str) -> bool:
    """The endpoint goes, and its deliveries; their log is forgotten with the old ones."""
    gone = await session.execute(
        delete(ENDPOINTS).where(_is(user_id, endpoint_id)).returning(ENDPOINTS.c.endpoint_id)
    )
    if gone.one_or_none() is None:
        return False
    await session.execute(delete(DELIVERIES).where(DELIVERIES.c.endpoint_id == endpoint_id))
    return True


def as_endpoint(row: Mapping[Any, Any]) -> Endpoint:
    """A row as the value that travels."""
    return msgspec.convert({**row, "enabled": bool(row["enabled"])}, Endpoint)


def _new_secret() -> str:
    return encode_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> str:
    return asymmetric.encode_private(asymmetric.private_key(secrets.token_bytes(asymmetric.SEED_BYTES)))


def _is(user_id: str, endpoint_id: str) -> ColumnElement[bool]:
    return and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.user_id == user_id)


async def _changed(
    session: AsyncSession, where: ColumnElement[bool], values: Mapping[str, object]
) -> Endpoint | None:
    changed = update(ENDPOINTS).where(where).values(dict(values)).returning(ENDPOINTS)
    row = (await session.execute(changed)).mappings().one_or_none()
    return as_endpoint(row) if row else None
