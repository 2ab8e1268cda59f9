"""Reading jobs: always within one user, newest first."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from service.jobs import EVENTS, JOBS, as_job
from service.models import ACTIVE, FINAL, ExportEvent, ExportJob, Job, Status

MAX_RECENT = 1_000

active = col(ExportJob.status).in_(ACTIVE)
unacknowledged = and_(col(ExportJob.status).in_(FINAL), col(ExportJob.acknowledged_at).is_(None))


def completed_since(since: float) -> ColumnElement[bool]:
    """Finished at or after a time."""
    return col(ExportJob.completed_at) >= since


async def get(session: AsyncSession, user_id: str, job_id: str) -> Job | None:
    """One of the user's jobs."""
    found = await of_user(session, user_id, col(ExportJob.job_id) == job_id, limit=1)
    return found[0] if found else None


async def of_anyone(session: AsyncSession, job_id: str) -> Job | None:
    """Whoever's job it is: for those who hold the key of one of its attempts."""
    found = (await session.execute(select(JOBS).where(JOBS.c.job_id == job_id))).mappings().one_or_none()
    return as_job(found) if found else None


async def of_user(
    session: AsyncSession, user_id: str, *where: ColumnElement[bool], limit: int = MAX_RECENT
) -> list[Job]:
    """The user's jobs that meet every condition."""
    found = select(JOBS).where(col(ExportJob.user_id) == user_id, *where)
    rows = await session.execute(found.order_by(col(ExportJob.job_id).desc()).limit(limit))
    return [as_job(row) for row in rows.mappings()]


async def page(
    session: AsyncSession,
    user_id: str,
    *,
    status: Status | None,
    type_: str | None,
    before: str | None,
    limit: int,
) -> list[Job]:
    """One page of the user's jobs; `before` is the last job id of the page before."""
    where = []
    if status:
        where.append(col(ExportJob.status) == status)
    if type_:
        where.append(col(ExportJob.type) == type_)
    if before:
        where.append(col(ExportJob.job_id) < before)
    return await of_user(session, user_id, *where, limit=limit)


async def current(session: AsyncSession, user_id: str, *, since: float) -> list[Job]:
    """What a stream of all exports begins with: active, not yet acknowledged, or finished since."""
    return await of_user(session, user_id, or_(active, unacknowledged, completed_since(since)))


async def watched(session: AsyncSession, job_ids: Sequence[str], user_ids: Sequence[str]) -> list[Job]:
    """Jobs by id, and those of users that are active or finished within the last hours."""
    of_users = and_(col(ExportJob.user_id).in_(user_ids), or_(active, unacknowledged))
    found = select(JOBS).where(or_(col(ExportJob.job_id).in_(job_ids), of_users))
    return [as_job(row) for row in (await session.execute(found)).mappings()]


async def count_active(session: AsyncSession, user_id: str) -> int:
    """How many of the user's jobs are pending or processing."""
    counted = select(func.count()).select_from(JOBS).where(col(ExportJob.user_id) == user_id, active)
    return int((await session.execute(counted)).scalar_one())


async def timeline(session: AsyncSession, job_id: str) -> Sequence[dict[str, object]]:
    """A job's transitions, oldest first."""
    found = select(EVENTS).where(col(ExportEvent.job_id) == job_id).order_by(col(ExportEvent.sequence))
    return [dict(row) for row in (await session.execute(found)).mappings()]
