"""Deliveries that an owner asks for: a test, one again, everything that was missed. Nothing is committed here."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, and_, exists, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from service.jobs.ids import new_id
from service.jobs.models import FINAL, ExportJob, Job
from service.jobs.serializers import JobSerializer, format_timestamp
from service.jobs.transitions import JOBS, to_job
from service.webhooks.deliveries import delivery_from_row
from service.webhooks.models import DELIVERIES, Delivery, DeliveryState, Endpoint
from service.webhooks.outbox import INSERT_DELIVERY, build_delivery, build_payload
from service.webhooks.retry_policy import TEST_EVENT

AT_A_TIME = 500
_record = text(INSERT_DELIVERY)


async def create_test_delivery(session: AsyncSession, endpoint: Endpoint, *, now: float) -> Delivery:
    """An event that tells of nothing, sent once."""
    payload = {
        "type": TEST_EVENT,
        "timestamp": format_timestamp(now),
        "data": {"endpoint_id": endpoint.endpoint_id, "message": "This is a test of your endpoint."},
    }
    values = {
        "delivery_id": new_id(now),
        "endpoint_id": endpoint.endpoint_id,
        "user_id": endpoint.user_id,
        "sequence": 0,
        "type": TEST_EVENT,
        "payload": msgspec.json.encode(payload).decode(),
        "state": DeliveryState.PENDING.value,
        "tries": 0,
        "attempts": 0,
        "requested": True,
        "next_at": now,
        "scheduled_at": now,
        "created_at": now,
    }
    row = await session.execute(insert(DELIVERIES).values(values).returning(DELIVERIES))
    return delivery_from_row(row.mappings().one())


async def redeliver(session: AsyncSession, delivery: Delivery, *, now: float) -> Delivery | None:
    """Send it again at once, with a whole schedule before it; None while an attempt is under way."""
    free = and_(
        DELIVERIES.c.delivery_id == delivery.delivery_id,
        or_(DELIVERIES.c.state != DeliveryState.PENDING.value, _unsent(now)),
    )
    return await _again(session, free, now, requested=True)


async def recover_missed(
    session: AsyncSession, endpoint: Endpoint, view: JobSerializer, *, since: float, after: str, now: float
) -> tuple[int, str | None]:
    """Send, of the exports that ended since, what the endpoint wants and has not taken.

    Goes through them in pieces: `after` is the last job id of the piece before, the answer how many deliveries were
    made, and where to go on, or None at the end.
    """
    ended = await _ended(session, endpoint, since=since, after=after)
    made = 0
    for job in ended:
        if job.event_type in endpoint.wants:
            made += await _missed(session, endpoint, job, view, now)
    return made, ended[-1].job_id if len(ended) == AT_A_TIME else None


async def _ended(session: AsyncSession, endpoint: Endpoint, *, since: float, after: str) -> Sequence[Job]:
    mine = select(JOBS).where(
        col(ExportJob.user_id) == endpoint.user_id,
        col(ExportJob.completed_at) >= since,
        col(ExportJob.status).in_(FINAL),
        col(ExportJob.job_id) > after,
    )
    if endpoint.job_id:
        mine = mine.where(col(ExportJob.job_id) == endpoint.job_id)
    rows = await session.execute(mine.order_by(col(ExportJob.job_id)).limit(AT_A_TIME))
    return [to_job(row) for row in rows.mappings()]


async def _missed(
    session: AsyncSession, endpoint: Endpoint, job: Job, view: JobSerializer, now: float
) -> int:
    """One delivery, unless the endpoint has taken it or is about to be sent it."""
    this = and_(
        DELIVERIES.c.endpoint_id == endpoint.endpoint_id,
        DELIVERIES.c.job_id == job.job_id,
        DELIVERIES.c.sequence == job.sequence,
    )
    given_up = DELIVERIES.c.state.in_((DeliveryState.FAILED.value, DeliveryState.SUPERSEDED.value))
    # Whoever asks is there again, and need not wait for the next try along the schedule.
    failed_before = and_(
        DELIVERIES.c.state == DeliveryState.PENDING.value, DELIVERIES.c.tries > 0, _unsent(now)
    )
    # Not as one that was requested: it is the newest now, and makes way for what is newer still.
    if await _again(session, and_(this, or_(given_up, failed_before)), now, requested=False) is not None:
        return 1
    if (await session.execute(select(exists().where(this)))).scalar_one():
        return 0
    made = build_delivery(job, endpoint.endpoint_id, build_payload(job, view, now), now)
    await session.execute(_record, made)
    return 1


def _unsent(now: float) -> ColumnElement[bool]:
    """Nobody is sending it now."""
    return or_(DELIVERIES.c.lease_until.is_(None), DELIVERIES.c.lease_until < now)


async def _again(session: AsyncSession, where: object, now: float, *, requested: bool) -> Delivery | None:
    values = {
        "state": DeliveryState.PENDING.value,
        "tries": 0,
        "requested": requested,
        "next_at": now,
        "scheduled_at": now,
        "lease_until": None,
        "ended_at": None,
    }
    again = update(DELIVERIES).where(where).values(values).returning(DELIVERIES)  # type: ignore[arg-type]
    row = (await session.execute(again)).mappings().one_or_none()
    return delivery_from_row(row) if row else None
