"""Check, create, read, change and delete endpoints.

Functions that take a session never commit. Only they and `endpoint_status` write `webhook_endpoints`.
"""

import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.signing import encode_secret
from infra.database.batches import lock_batch
from infra.egress import BlockedURL, EgressClient, Unreachable
from service.jobs.ids import new_id
from service.problems import FieldError, Invalid
from service.webhooks.ed25519 import SEED_BYTES, encode_private, private_key_from_seed
from service.webhooks.models import (
    DELIVERIES,
    ENDPOINT_PREFIX,
    ENDPOINTS,
    Endpoint,
    EndpointKind,
    WebhookEvent,
    endpoint_from_row,
)

SECRET_BYTES: Final = 32
OVERLAP_SECONDS: Final = 24 * 3_600.0
"""For this long after a rotation, both the old and the new secret sign."""
DEFAULT_EVENTS: Final[tuple[WebhookEvent, ...]] = tuple(
    event for event in WebhookEvent if event is not WebhookEvent.PROGRESS
)
"""The events of an endpoint that names none: all but progress."""
BATCH_ROWS: Final = 500
_SELECT_BY_IDS: Final = select(ENDPOINTS).where(ENDPOINTS.c.endpoint_id.in_(bindparam("ids", expanding=True)))

_LISTEN_HINT: Final = (
    " A receiver on your own machine needs none of that: "
    "`framehook webhooks listen --forward URL` brings webhooks to it."
)


async def check_url(egress: EgressClient, url: str, field: str) -> None:
    """Check the URL of an endpoint before it is stored; Invalid names the request's field."""
    try:
        await egress.check(url)
    except (BlockedURL, Unreachable) as error:
        reason = error.reason if isinstance(error, BlockedURL) else error.message
        if isinstance(error, BlockedURL) and error.is_by_policy:
            reason += _LISTEN_HINT
        raise Invalid(f"{field}: {reason}", errors=[FieldError(loc=[field], msg=reason)]) from None


def new_values(
    user_id: str,
    url: str,
    *,
    events: Sequence[str] = DEFAULT_EVENTS,
    description: str = "",
    job_id: str | None = None,
    export_filter: str | None = None,
    ed25519: bool = False,
    kind: EndpointKind = EndpointKind.URL,
    secret: str | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
    now: float,
) -> dict[str, object]:
    """Return the columns of an endpoint, for all of a user's exports or for `job_id` only.

    `options` are those of the columns `format`, `custom_headers` and `rate_limit` that are not the default.
    """
    return {
        "endpoint_id": ENDPOINT_PREFIX + new_id(now),
        "user_id": user_id,
        "job_id": job_id,
        "url": url,
        "description": description,
        "events": ",".join(events),
        "secret": secret or _new_secret(),
        "signing_key": _new_signing_key() if ed25519 else None,
        "enabled": True,
        "created_at": now,
        "export_filter": export_filter,
        "kind": kind.value,
        **options,
    }


async def create(session: AsyncSession, values: Mapping[str, object]) -> Endpoint:
    """Create an endpoint with these columns."""
    (endpoint,) = await create_all(session, [values])
    return endpoint


async def create_all(session: AsyncSession, values: Sequence[Mapping[str, object]]) -> list[Endpoint]:
    """Create endpoints with these columns; return them in any order."""
    if not values:
        return []
    rows = await session.execute(insert(ENDPOINTS).returning(ENDPOINTS), list(values))
    return [endpoint_from_row(row) for row in rows.mappings()]


async def get(session: AsyncSession, user_id: str, endpoint_id: str) -> Endpoint | None:
    """Return the endpoint if it belongs to the user, also one of a single export."""
    result = await session.execute(select(ENDPOINTS).where(is_endpoint(user_id, endpoint_id)))
    row = result.mappings().one_or_none()
    return endpoint_from_row(row) if row else None


async def lock(session: AsyncSession, endpoint: Endpoint) -> Endpoint | None:
    """Return the endpoint as it is now, and keep others from changing it until the transaction ends."""
    query = select(ENDPOINTS).where(is_endpoint(endpoint.user_id, endpoint.endpoint_id)).with_for_update()
    row = (await session.execute(query)).mappings().one_or_none()
    return endpoint_from_row(row) if row else None


async def list_by_user(session: AsyncSession, user_id: str) -> list[Endpoint]:
    """Return the user's endpoints, oldest first, without those of single exports."""
    query = select(ENDPOINTS).where(ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    rows = await session.execute(query.order_by(ENDPOINTS.c.endpoint_id))
    return [endpoint_from_row(row) for row in rows.mappings()]


async def list_by_job(session: AsyncSession, user_id: str, job_id: str) -> list[Endpoint]:
    """Return the endpoints of one export."""
    query = select(ENDPOINTS).where(ENDPOINTS.c.job_id == job_id, ENDPOINTS.c.user_id == user_id)
    return [endpoint_from_row(row) for row in (await session.execute(query)).mappings()]


async def list_by_ids(session: AsyncSession, endpoint_ids: Sequence[str]) -> list[Endpoint]:
    """Return the endpoints with these ids, of any user."""
    rows = (await session.execute(_SELECT_BY_IDS, {"ids": endpoint_ids})).mappings()
    return [endpoint_from_row(row) for row in rows]


async def count(session: AsyncSession, user_id: str) -> int:
    """Count the user's endpoints, without those of single exports."""
    conditions = (ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    query = select(func.count()).select_from(ENDPOINTS).where(*conditions)
    return int((await session.execute(query)).scalar_one())


async def update_fields(
    session: AsyncSession, user_id: str, endpoint_id: str, values: Mapping[str, object]
) -> Endpoint | None:
    """Set what its owner may change: url, description, events, filter, format, headers, rate limit."""
    return await update_where(session, is_endpoint(user_id, endpoint_id), values)


async def note_listener(session: AsyncSession, endpoint: Endpoint, *, now: float) -> None:
    """Note that a listener has connected: an endpoint that has none for long is deleted."""
    await update_where(session, is_endpoint(endpoint.user_id, endpoint.endpoint_id), {"listened_at": now})


async def rotate_secret(session: AsyncSession, endpoint: Endpoint, *, now: float) -> Endpoint | None:
    """Replace the secret; None if another rotation came first.

    For a day the previous secret signs as well.
    """
    is_unchanged = and_(
        is_endpoint(endpoint.user_id, endpoint.endpoint_id), ENDPOINTS.c.secret == endpoint.secret
    )
    values = {
        "secret": _new_secret(),
        "previous_secret": endpoint.secret,
        "signing_key": _new_signing_key() if endpoint.signing_key else None,
        "previous_signing_key": endpoint.signing_key,
        "previous_until": now + OVERLAP_SECONDS,
    }
    return await update_where(session, is_unchanged, values)


async def remove(session: AsyncSession, user_id: str, endpoint_id: str) -> bool:
    """Delete the endpoint, without its deliveries, and return whether it existed."""
    removed = await session.execute(
        delete(ENDPOINTS).where(is_endpoint(user_id, endpoint_id)).returning(ENDPOINTS.c.endpoint_id)
    )
    return removed.one_or_none() is not None


async def delete_deliveries(session: AsyncSession, endpoint_id: str) -> bool:
    """Delete a batch of deliveries of a deleted endpoint and return whether there may be more.

    The retention deletes their attempt logs, and the deliveries that are left if the calls end early.
    """
    of_endpoint = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.endpoint_id == endpoint_id)
    batch = lock_batch(of_endpoint.order_by(DELIVERIES.c.delivery_id), BATCH_ROWS)
    statement = delete(DELIVERIES).where(DELIVERIES.c.delivery_id.in_(batch))
    deleted = await session.execute(statement.returning(DELIVERIES.c.delivery_id))
    return len(deleted.all()) == BATCH_ROWS


def is_endpoint(user_id: str, endpoint_id: str) -> ColumnElement[bool]:
    """Return the condition for the row of one endpoint of a user."""
    return and_(ENDPOINTS.c.endpoint_id == endpoint_id, ENDPOINTS.c.user_id == user_id)


async def update_where(
    session: AsyncSession, condition: ColumnElement[bool], values: Mapping[str, object]
) -> Endpoint | None:
    """Update the endpoint that meets the condition and return it; None if there is none."""
    statement = update(ENDPOINTS).where(condition).values(dict(values)).returning(ENDPOINTS)
    row = (await session.execute(statement)).mappings().one_or_none()
    return endpoint_from_row(row) if row else None


def _new_secret() -> str:
    return encode_secret(secrets.token_bytes(SECRET_BYTES))


def _new_signing_key() -> str:
    return encode_private(private_key_from_seed(secrets.token_bytes(SEED_BYTES)))
