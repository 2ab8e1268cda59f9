"""Mark finished jobs as seen by their user. No change of state: `sequence` stays, and no event is sent."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.models import IS_UNSEEN, JOBS, Job
from service.jobs.queries import MAX_RECENT, NEWEST
from service.jobs.transitions import to_job


async def acknowledge(session: AsyncSession, user_id: str, ids: Sequence[str], *, now: float) -> list[Job]:
    """Mark jobs by their ids, own or chosen, and return them; skip unfinished, unknown and seen ones."""
    return await _mark(session, user_id, or_(JOBS.c.job_id.in_(ids), JOBS.c.export_id.in_(ids)), now)


async def acknowledge_all(
    session: AsyncSession, user_id: str, *, now: float, limit: int = MAX_RECENT
) -> list[Job]:
    """Mark every finished job; return the newest `limit` of them, so that a long absence costs no memory."""
    unseen = select(JOBS.c.job_id).where(JOBS.c.user_id == user_id, IS_UNSEEN)
    batch = JOBS.c.job_id.in_(unseen.order_by(NEWEST).limit(limit))
    newest = marked = await _mark(session, user_id, batch, now)
    while len(marked) == limit:
        marked = await _mark(session, user_id, batch, now)
    return newest


async def _mark(session: AsyncSession, user_id: str, where: ColumnElement[bool], now: float) -> list[Job]:
    # A range, as in `fair_share`: planners may otherwise read all exports of the user.
    unseen = and_(JOBS.c.user_id.between(user_id, user_id), IS_UNSEEN, where)
    rows = await session.execute(update(JOBS).where(unseen).values(acknowledged_at=now).returning(JOBS))
    return sorted((to_job(row) for row in rows.mappings()), key=lambda job: job.job_id, reverse=True)
