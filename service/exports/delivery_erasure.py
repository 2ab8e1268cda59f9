"""Remove what deliveries hold of an erased export, and send their endpoints its last event.

These functions take a session and never commit.
"""

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, case, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.erasures import ErasedData, Erasure, to_erased_data
from service.jobs.filters import decode_filter
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.serializers import Export, format_timestamp
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, DeliveryState, WebhookEvent
from service.webhooks.outbox import INSERT_DELIVERY

_insert: Final = text(INSERT_DELIVERY)


async def blank_deliveries(session: AsyncSession, user_id: str, job_id: str, *, now: float) -> None:
    """Remove the bodies of an export's deliveries and of the responses; what was not sent never will be.

    The lease of a request in flight stays, so that `export.erased` comes after it.
    """
    is_of_export = and_(
        DELIVERIES.c.endpoint_id.in_(select(ENDPOINTS.c.endpoint_id).where(_gets_events(user_id, job_id))),
        DELIVERIES.c.job_id == job_id,
    )
    query = select(DELIVERIES.c.delivery_id).where(is_of_export).order_by(DELIVERIES.c.delivery_id)
    ids = list((await session.execute(query.with_for_update())).scalars())
    is_pending = DELIVERIES.c.state == DeliveryState.PENDING.value
    values = {
        "payload": "",
        "traceparent": None,
        "request_id": None,
        "state": case((is_pending, DeliveryState.SUPERSEDED.value), else_=DELIVERIES.c.state),
        "ended_at": func.coalesce(DELIVERIES.c.ended_at, now),
    }
    has_body = and_(DELIVERIES.c.delivery_id.in_(ids), DELIVERIES.c.type != WebhookEvent.ERASED.value)
    await session.execute(update(DELIVERIES).where(has_body).values(values))
    responses = update(ATTEMPTS).where(ATTEMPTS.c.delivery_id.in_(ids), ATTEMPTS.c.excerpt.is_not(None))
    await session.execute(responses.values(excerpt=None))


async def write_erased(session: AsyncSession, job: Job, erasure: Erasure) -> int:
    """Write an `export.erased` for each endpoint that wants it; return how many.

    `job` is the export as it was, by which the filters of endpoints go.
    """
    event = (WebhookEvent.ERASED, erasure.sequence, to_erased_data(erasure))
    return await _write_event(session, job, *event, now=erasure.erased_at)


async def write_expired(session: AsyncSession, job: Job, data: Export, *, now: float) -> int:
    """Write an `export.expired` for each endpoint that wants it; return how many."""
    return await _write_event(session, job, WebhookEvent.EXPIRED, job.sequence, data, now=now)


async def _write_event(
    session: AsyncSession,
    job: Job,
    event_type: WebhookEvent,
    sequence: int,
    data: ErasedData | Export,
    *,
    now: float,
) -> int:
    query = select(ENDPOINTS.c.endpoint_id, ENDPOINTS.c.events, ENDPOINTS.c.export_filter)
    is_enabled = and_(ENDPOINTS.c.enabled, _gets_events(job.user_id, job.job_id))
    rows = (await session.execute(query.where(is_enabled))).all()
    event = {"type": event_type, "timestamp": format_timestamp(now), "data": data}
    payload = msgspec.json.encode(event).decode()
    deliveries = [
        {
            "delivery_id": new_id(now),
            "endpoint_id": endpoint_id,
            "user_id": job.user_id,
            "job_id": job.job_id,
            "sequence": sequence,
            "type": event_type.value,
            "payload": payload,
            "traceparent": None,
            "request_id": None,
            "now": now,
        }
        for endpoint_id, events, export_filter in rows
        if event_type in events.split(",")
        and (export_filter is None or decode_filter(export_filter).matches(job))
    ]
    if deliveries:
        await session.execute(_insert, deliveries)
    return len(deliveries)


def _gets_events(user_id: str, job_id: str) -> ColumnElement[bool]:
    """Match the endpoints of a user's exports, and those of this one alone."""
    is_of_user = and_(ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    return or_(is_of_user, ENDPOINTS.c.job_id == job_id)
