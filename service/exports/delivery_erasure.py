"""Remove what deliveries hold of an erased export, and send their endpoints its last event.

These functions take a session and never commit.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, Row, and_, case, func, literal, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.erasures import Erasure
from service.jobs.filters import decode_filter
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer
from service.webhooks import delivery_log
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, DeliveryState, WebhookEvent
from service.webhooks.notices import Notice, notice_of_erasure, notice_of_expiry
from service.webhooks.ordering import keep_lease
from service.webhooks.outbox import INSERT_DELIVERY

IDS_AT_ONCE: Final = 1_000
"""Databases limit the values of a statement."""
_insert: Final = text(INSERT_DELIVERY)


async def blank_deliveries(
    session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float
) -> None:
    """Remove the bodies of the deliveries of exports and of the responses; what was not sent never will be.

    The lease of a request in flight stays, so that `export.erased` comes after it. These deliveries are not tried
    again, so an attempt without a result is marked as interrupted; a result that comes later replaces the mark.
    """
    is_of_exports = and_(
        DELIVERIES.c.endpoint_id.in_(select(ENDPOINTS.c.endpoint_id).where(_gets_events(user_id, job_ids))),
        DELIVERIES.c.job_id.in_(job_ids),
    )
    query = select(DELIVERIES.c.delivery_id).where(is_of_exports).order_by(DELIVERIES.c.delivery_id)
    ids = list((await session.execute(query.with_for_update())).scalars())
    for start in range(0, len(ids), IDS_AT_ONCE):
        await _blank(session, ids[start : start + IDS_AT_ONCE], now)


async def _blank(session: AsyncSession, ids: Sequence[str], now: float) -> None:
    is_pending = DELIVERIES.c.state == DeliveryState.PENDING.value
    values = {
        "payload": "",
        "traceparent": None,
        "request_id": None,
        "state": case((is_pending, DeliveryState.SUPERSEDED.value), else_=DELIVERIES.c.state),
        "ended_at": func.coalesce(DELIVERIES.c.ended_at, now),
        **keep_lease(literal(now, Float)),
    }
    has_body = and_(DELIVERIES.c.delivery_id.in_(ids), DELIVERIES.c.type != WebhookEvent.ERASED.value)
    await session.execute(update(DELIVERIES).where(has_body).values(values))
    responses = update(ATTEMPTS).where(ATTEMPTS.c.delivery_id.in_(ids), ATTEMPTS.c.excerpt.is_not(None))
    await session.execute(responses.values(excerpt=None))
    await delivery_log.mark_interrupted(session, ids)


async def write_erased(session: AsyncSession, jobs: Sequence[Job], erased: Sequence[Erasure]) -> None:
    """Write an `export.erased` for each export of one user and each endpoint that wants it.

    `jobs` are the exports as they were, by which the filters of endpoints go.
    """
    notices = [notice_of_erasure(erasure, erasure.erased_at) for erasure in erased]
    await _write_notices(session, jobs, notices)


async def write_expired(session: AsyncSession, job: Job, serializer: JobSerializer, *, now: float) -> None:
    """Write an `export.expired` for each endpoint that wants it."""
    await _write_notices(session, [job], [notice_of_expiry(job, serializer, now)])


async def _write_notices(session: AsyncSession, jobs: Sequence[Job], notices: Sequence[Notice]) -> None:
    """Write a notice of each of these exports of one user."""
    if not jobs:
        return
    gets_events = _gets_events(jobs[0].user_id, [job.job_id for job in jobs])
    columns = (ENDPOINTS.c.endpoint_id, ENDPOINTS.c.job_id, ENDPOINTS.c.events, ENDPOINTS.c.export_filter)
    endpoints = (await session.execute(select(*columns).where(ENDPOINTS.c.enabled, gets_events))).all()
    deliveries = [
        notice.to_delivery(endpoint.endpoint_id, new_id(notice.at))
        for job, notice in zip(jobs, notices, strict=True)
        for endpoint in endpoints
        if _is_wanted(endpoint, job, notice.type)
    ]
    if deliveries:
        await session.execute(_insert, deliveries)


def _is_wanted(endpoint: Row[*tuple[Any, ...]], job: Job, event: WebhookEvent) -> bool:
    """Tell whether an endpoint gets an event of an export."""
    if endpoint.job_id not in (None, job.job_id) or event not in endpoint.events.split(","):
        return False
    return endpoint.export_filter is None or decode_filter(endpoint.export_filter).matches(job)


def _gets_events(user_id: str, job_ids: Sequence[str]) -> ColumnElement[bool]:
    """Match the endpoints of a user's exports, and those of these alone."""
    is_of_user = and_(ENDPOINTS.c.user_id == user_id, ENDPOINTS.c.job_id.is_(None))
    return or_(is_of_user, ENDPOINTS.c.job_id.in_(job_ids))
