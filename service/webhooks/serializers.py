"""Reading what was sent, and to whom: endpoints and deliveries as the wire shows them."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.serializers import format_timestamp
from service.webhooks.deliveries import delivery_from_row
from service.webhooks.models import ATTEMPTS, DELIVERIES, Delivery, DeliveryState, Endpoint
from service.webhooks.signing import active_public_keys

EXCERPT_IN_LISTS = 1_024
"""Characters of an answer that a list shows; a delivery alone shows all that was kept."""

Attempts = Mapping[str, Sequence[Mapping[str, Any]]]


async def list_page(
    session: AsyncSession,
    endpoint_id: str,
    *,
    state: DeliveryState | None,
    before: str | None,
    limit: int,
) -> list[Delivery]:
    """One page of an endpoint's deliveries, newest first; `before` is the last id of the page before."""
    where: list[ColumnElement[bool]] = [DELIVERIES.c.endpoint_id == endpoint_id]
    if state:
        where.append(DELIVERIES.c.state == state.value)
    if before:
        where.append(DELIVERIES.c.delivery_id < before)
    found = select(DELIVERIES).where(*where).order_by(DELIVERIES.c.delivery_id.desc()).limit(limit)
    return [delivery_from_row(row) for row in (await session.execute(found)).mappings()]


async def get(session: AsyncSession, endpoint_id: str, delivery_id: str) -> Delivery | None:
    """One of an endpoint's deliveries."""
    one = (DELIVERIES.c.endpoint_id == endpoint_id, DELIVERIES.c.delivery_id == delivery_id)
    row = (await session.execute(select(DELIVERIES).where(*one))).mappings().one_or_none()
    return delivery_from_row(row) if row else None


async def find_endpoint_id(session: AsyncSession, user_id: str, delivery_id: str) -> str | None:
    """Which of the user's endpoints a delivery was for."""
    one = (DELIVERIES.c.delivery_id == delivery_id, DELIVERIES.c.user_id == user_id)
    return (await session.execute(select(DELIVERIES.c.endpoint_id).where(*one))).scalar_one_or_none()


async def load_attempts(session: AsyncSession, found: Sequence[Delivery]) -> Attempts:
    """What was sent for each of the deliveries, oldest first."""
    ids = [one.delivery_id for one in found]
    asked = select(ATTEMPTS).where(ATTEMPTS.c.delivery_id.in_(ids)).order_by(ATTEMPTS.c.attempt)
    attempts: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in (await session.execute(asked)).mappings():
        attempts[row["delivery_id"]].append(dict(row))
    return attempts


def endpoint_to_dict(endpoint: Endpoint, *, clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """The endpoint as its owner sees it: everything but its secrets."""
    overlap = endpoint.previous_until
    return {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.wants,
        "job_id": endpoint.job_id,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": format_timestamp(endpoint.disabled_at),
        "failing_since": format_timestamp(endpoint.failing_since),
        "public_key": next(iter(active_public_keys(endpoint, now=0.0)), None),
        "previous_secret_until": format_timestamp(overlap) if overlap and overlap > clock() else None,
        "created_at": format_timestamp(endpoint.created_at),
    }


def endpoint_to_dict_with_secret(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint with its secret, for the one answer that shows it."""
    return endpoint_to_dict(endpoint) | {"secret": endpoint.secret}


def delivery_to_dict(delivery: Delivery, attempts: Attempts, *, whole: bool = False) -> dict[str, Any]:
    """A delivery and every attempt at it; `whole` adds what was sent, and all that was kept of the answers."""
    longest = None if whole else EXCERPT_IN_LISTS
    shown = {
        "delivery_id": delivery.delivery_id,
        "endpoint_id": delivery.endpoint_id,
        "type": delivery.type,
        "job_id": delivery.job_id,
        "sequence": delivery.sequence,
        "state": delivery.state,
        "created_at": format_timestamp(delivery.created_at),
        "ended_at": format_timestamp(delivery.ended_at),
        "next_attempt_at": format_timestamp(delivery.next_at)
        if delivery.state is DeliveryState.PENDING
        else None,
        "attempts": [_attempt(one, longest) for one in attempts.get(delivery.delivery_id, ())],
    }
    return shown | ({"payload": delivery.payload} if whole else {})


def _attempt(row: Mapping[str, Any], longest: int | None) -> dict[str, Any]:
    excerpt = row["excerpt"]
    return {
        "attempt": row["attempt"],
        "at": format_timestamp(row["at"]),
        "seconds": None if row["seconds"] is None else round(row["seconds"], 3),
        "status": row["status"],
        "error": {"code": row["error_code"], "message": row["error_message"]} if row["error_code"] else None,
        "excerpt": excerpt[:longest] if excerpt is not None else None,
    }
