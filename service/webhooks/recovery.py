"""Send what an owner requests: one delivery again, or all that was missed.

These functions take a session and never commit.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.models import FINAL, JOBS, Job
from service.jobs.serializers import JobSerializer
from service.jobs.transitions import to_job
from service.webhooks.models import DELIVERIES, Delivery, DeliveryState, Endpoint, delivery_from_row
from service.webhooks.outbox import INSERT_DELIVERY, build_delivery, build_payload

BATCH_ROWS: Final = 500
_insert: Final = text(INSERT_DELIVERY)


async def redeliver(session: AsyncSession, delivery: Delivery, *, now: float) -> Delivery | None:
    """Make the delivery due at once; None while an attempt is in flight, or if its body was erased.

    The retry schedule starts again.
    """
    is_free = and_(
        DELIVERIES.c.delivery_id == delivery.delivery_id,
        DELIVERIES.c.payload != "",
        or_(DELIVERIES.c.state != DeliveryState.PENDING.value, _is_unsent(now)),
    )
    return await _requeue(session, is_free, now, requested=True)


async def recover_missed(
    session: AsyncSession,
    endpoint: Endpoint,
    serializer: JobSerializer,
    *,
    since: float,
    after: str,
    now: float,
) -> tuple[int, str | None]:
    """Requeue final events that the endpoint wants and has not received.

    Each call takes a batch of the exports that ended after `since`; `after` is the last job id of the previous batch,
    "" at first. Return how many deliveries are due now, and the last job id of this batch or None at the end.
    """
    jobs = await _list_ended_jobs(session, endpoint, since=since, after=after)
    count = 0
    for job in jobs:
        if endpoint.is_interested_in(job):
            count += await _redeliver_missed(session, endpoint, job, serializer, now)
    return count, jobs[-1].job_id if len(jobs) == BATCH_ROWS else None


async def _list_ended_jobs(
    session: AsyncSession, endpoint: Endpoint, *, since: float, after: str
) -> Sequence[Job]:
    query = select(JOBS).where(
        JOBS.c.user_id == endpoint.user_id,
        JOBS.c.completed_at >= since,
        JOBS.c.status.in_(FINAL),
        JOBS.c.job_id > after,
    )
    if endpoint.job_id:
        query = query.where(JOBS.c.job_id == endpoint.job_id)
    rows = await session.execute(query.order_by(JOBS.c.job_id).limit(BATCH_ROWS))
    return [to_job(row) for row in rows.mappings()]


async def _redeliver_missed(
    session: AsyncSession, endpoint: Endpoint, job: Job, serializer: JobSerializer, now: float
) -> int:
    """Make one delivery due, unless it was delivered or is about to be sent."""
    is_same_event = and_(
        DELIVERIES.c.endpoint_id == endpoint.endpoint_id,
        DELIVERIES.c.job_id == job.job_id,
        DELIVERIES.c.sequence == job.transition_sequence,
    )
    has_ended = DELIVERIES.c.state.in_((DeliveryState.FAILED.value, DeliveryState.SUPERSEDED.value))
    # A delivery that waits for its next attempt need not wait: the owner says that the endpoint is back.
    is_retrying = and_(
        DELIVERIES.c.state == DeliveryState.PENDING.value, DELIVERIES.c.tries > 0, _is_unsent(now)
    )
    # Not marked as requested: a newer event of the export may still supersede it.
    is_missed = and_(is_same_event, or_(has_ended, is_retrying))
    if await _requeue(session, is_missed, now, requested=False) is not None:
        return 1
    if (await session.execute(select(exists().where(is_same_event)))).scalar_one():
        return 0
    delivery = build_delivery(job, endpoint.endpoint_id, build_payload(job, serializer, now), now)
    # The event is the end, also of a job that was edited since.
    await session.execute(_insert, delivery | {"sequence": job.transition_sequence})
    return 1


def _is_unsent(now: float) -> ColumnElement[bool]:
    """Return the condition that no attempt is in flight."""
    return or_(DELIVERIES.c.lease_until.is_(None), DELIVERIES.c.lease_until < now)


async def _requeue(
    session: AsyncSession, condition: ColumnElement[bool], now: float, *, requested: bool
) -> Delivery | None:
    values = {
        "state": DeliveryState.PENDING.value,
        "tries": 0,
        "requested": requested,
        "next_at": now,
        "scheduled_at": now,
        "lease_until": None,
        "ended_at": None,
    }
    statement = update(DELIVERIES).where(condition).values(values).returning(DELIVERIES)
    row = (await session.execute(statement)).mappings().one_or_none()
    return delivery_from_row(row) if row else None
