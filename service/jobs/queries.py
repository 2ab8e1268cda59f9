"""Read jobs: mostly those of one user, newest first."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, UnaryExpression, and_, desc, func, or_, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from service.jobs.erasures import ERASURES
from service.jobs.filters import EVERY_EXPORT, ExportFilter
from service.jobs.metadata import ENTRIES, digest_entry
from service.jobs.models import (
    ACTIVE,
    EVENTS,
    EXPIRED,
    FINAL,
    IS_ACTIVE,
    IS_UNSEEN,
    JOBS,
    ExportEvent,
    Job,
    Status,
)
from service.jobs.transitions import to_job

MAX_RECENT = 1_000

ACTIVE_STATUSES = frozenset(ACTIVE)
"""A user has few exports in these, so that a list of them needs no other index."""

NEWEST = JOBS.c.job_id.desc()
LATEST_FINISHED = JOBS.c.completed_at.desc()
LATEST_EDITED = JOBS.c.edited_at.desc()


async def get(session: AsyncSession, user_id: str, job_id: str) -> Job | None:
    """Return a job of the user, by its own id or the one that the client chose."""
    jobs = await list_for_user(session, user_id, JOBS.c.job_id == job_id, limit=1)
    return jobs[0] if jobs else await find_by_export_id(session, user_id, job_id)


async def find_by_export_id(session: AsyncSession, user_id: str, export_id: str) -> Job | None:
    """Return the user's job with this id, which the client chose."""
    jobs = await list_for_user(session, user_id, JOBS.c.export_id == export_id, limit=1)
    return jobs[0] if jobs else None


async def find_key_holders(
    session: AsyncSession, user_id: str, output_keys: Sequence[str], *, now: float, excluding: str = ""
) -> dict[str, str]:
    """Return the ids of the user's exports that have these output keys, except `excluding`.

    Active and complete exports have their key. One that was cancelled while its output was moved to the key has it
    until that ends, one that was erased until its file can't come back.
    """
    has_file = and_(JOBS.c.status == Status.COMPLETE, JOBS.c.expiry_step < EXPIRED)
    has_key = or_(JOBS.c.status.in_(ACTIVE), has_file, JOBS.c.lease_until > now)
    same = (JOBS.c.user_id == user_id, JOBS.c.output_key.in_(output_keys))
    jobs = select(JOBS.c.output_key, JOBS.c.job_id).where(*same, JOBS.c.job_id != excluding, has_key)
    is_erased = (ERASURES.c.user_id == user_id, ERASURES.c.output_key.in_(output_keys))
    erased = select(ERASURES.c.output_key, ERASURES.c.job_id).where(*is_erased)
    holders: dict[str, str] = {}
    for query in (erased, jobs) if output_keys else ():
        holders |= {row.output_key: row.job_id for row in await session.execute(query)}
    return holders


async def get_any(session: AsyncSession, job_id: str) -> Job | None:
    """Return a job of any user; the caller has the key of one of its attempts."""
    row = (await session.execute(select(JOBS).where(JOBS.c.job_id == job_id))).mappings().one_or_none()
    return to_job(row) if row else None


async def list_for_user(
    session: AsyncSession,
    user_id: str,
    *where: ColumnElement[bool],
    limit: int = MAX_RECENT,
    order: UnaryExpression[Any] = NEWEST,
) -> list[Job]:
    """Return the user's jobs that meet every condition."""
    query = select(JOBS).where(JOBS.c.user_id == user_id, *where)
    rows = await session.execute(query.order_by(order).limit(limit))
    return [to_job(row) for row in rows.mappings()]


async def list_active(session: AsyncSession, user_id: str, *where: ColumnElement[bool]) -> list[Job]:
    """Return the pending and processing jobs that meet every condition, newest first."""
    return await _list_by_status(session, user_id, ACTIVE, *where, limit=MAX_RECENT)


async def _list_by_status(
    session: AsyncSession, user_id: str, statuses: Iterable[str], *where: ColumnElement[bool], limit: int
) -> list[Job]:
    """Return the jobs in any of these statuses, newest first.

    An index has the jobs of one status, but not of several, in this order: each status is a query of its own. They are
    one statement, which misses no job whose status changes while it runs.
    """
    parts = [
        select(JOBS).where(JOBS.c.user_id == user_id, JOBS.c.status == status, *where) for status in statuses
    ]
    rows = await session.execute(union_all(*parts).order_by(desc("job_id")).limit(limit))
    return [to_job(row) for row in rows.mappings()]


async def list_unacknowledged(session: AsyncSession, user_id: str) -> list[Job]:
    """Return the finished jobs that were not marked as seen, newest first."""
    return await list_for_user(session, user_id, IS_UNSEEN)


async def list_recent(session: AsyncSession, user_id: str, *, since: float) -> list[Job]:
    """Return the jobs that are active or finished at or after `since`, newest first."""
    finished = JOBS.c.completed_at >= since
    return _merge_newest(
        await list_active(session, user_id),
        await list_for_user(session, user_id, finished, order=LATEST_FINISHED),
    )


def _merge_newest(*lists: list[Job]) -> list[Job]:
    """Merge lists that each have an index; one query with OR would scan all finished jobs."""
    by_id = {job.job_id: job for jobs in lists for job in jobs}
    return sorted(by_id.values(), key=lambda job: job.job_id, reverse=True)[:MAX_RECENT]


async def list_page(
    session: AsyncSession,
    user_id: str,
    export_filter: ExportFilter = EVERY_EXPORT,
    *,
    before: str | None,
    limit: int,
) -> list[Job]:
    """Return a page of the user's jobs; `before` is the last job id of the previous page."""
    if export_filter.metadata and not ACTIVE_STATUSES.issuperset(export_filter.statuses or FINAL):
        return await _list_by_metadata(session, user_id, export_filter, before=before, limit=limit)
    where = export_filter.conditions()
    if before:
        where.append(JOBS.c.job_id < before)
    if export_filter.statuses:
        return await _list_by_status(session, user_id, export_filter.statuses, *where, limit=limit)
    return await list_for_user(session, user_id, *where, limit=limit)


async def _list_by_metadata(
    session: AsyncSession, user_id: str, export_filter: ExportFilter, *, before: str | None, limit: int
) -> list[Job]:
    """Return a page from the index of the metadata, which has the jobs of one entry in this order."""
    entries = [digest_entry(key, text) for key, text in export_filter.metadata]
    entry = entries[0] if len(entries) == 1 else await _find_rarest(session, user_id, entries)
    where = [
        ENTRIES.c.user_id == user_id,
        ENTRIES.c.entry == entry,
        *export_filter.id_range(ENTRIES.c.job_id),
    ]
    if before:
        where.append(ENTRIES.c.job_id < before)
    query = select(JOBS).join(ENTRIES, ENTRIES.c.job_id == JOBS.c.job_id)
    query = query.where(*where, *export_filter.residual_conditions())
    rows = await session.execute(query.order_by(ENTRIES.c.job_id.desc()).limit(limit))
    return [to_job(row) for row in rows.mappings()]


async def _find_rarest(session: AsyncSession, user_id: str, entries: Sequence[str]) -> str:
    """Return the entry that the fewest jobs have; those with many count as equal."""
    counts = {}
    for entry in entries:
        some = select(ENTRIES.c.job_id).where(ENTRIES.c.user_id == user_id, ENTRIES.c.entry == entry)
        query = select(func.count()).select_from(some.limit(MAX_RECENT).subquery())
        counts[entry] = int((await session.execute(query)).scalar_one())
    return min(entries, key=counts.__getitem__)


async def list_latest_finished(
    session: AsyncSession, user_id: str, *conditions: ColumnElement[bool], since: float, limit: int
) -> list[Job]:
    """Return the newest jobs that finished since or are not acknowledged, oldest first.

    With conditions it looks through the newest MAX_RECENT unacknowledged jobs only: some users never acknowledge any.
    """
    completed_at = JOBS.c.completed_at
    recent = await list_for_user(
        session, user_id, completed_at >= since, *conditions, order=LATEST_FINISHED, limit=limit
    )
    unseen_ids = select(JOBS.c.job_id).where(JOBS.c.user_id == user_id, IS_UNSEEN)
    is_newest_unseen = JOBS.c.job_id.in_(unseen_ids.order_by(NEWEST).limit(MAX_RECENT))
    is_unseen = is_newest_unseen if conditions else IS_UNSEEN
    unseen = await list_for_user(session, user_id, is_unseen, *conditions, limit=limit)
    by_id = {job.job_id: job for job in (*recent, *unseen)}
    newest = sorted(by_id.values(), key=lambda job: (job.completed_at, job.job_id), reverse=True)[:limit]
    return newest[::-1]


async def list_finished_since(
    session: AsyncSession,
    user_id: str,
    *conditions: ColumnElement[bool],
    since: float,
    after: tuple[float, str] | None,
    limit: int,
) -> list[Job]:
    """Return the jobs that finished since, in that order; `after` is the last seen time and id."""
    completed_at, job_id = JOBS.c.completed_at, JOBS.c.job_id
    where: list[ColumnElement[bool]] = [completed_at >= since, *conditions]
    if after is not None:
        where.append(tuple_(completed_at, job_id) > tuple_(*after))
    query = select(JOBS).where(JOBS.c.user_id == user_id, *where)
    rows = await session.execute(query.order_by(completed_at, job_id).limit(limit))
    return [to_job(row) for row in rows.mappings()]


async def list_edited(
    session: AsyncSession,
    user_id: str,
    *conditions: ColumnElement[bool],
    since: float,
    limit: int = MAX_RECENT,
) -> list[Job]:
    """Return the jobs whose name, metadata or project was changed since, the last change first."""
    is_edited = JOBS.c.edited_at >= since
    return await list_for_user(session, user_id, is_edited, *conditions, limit=limit, order=LATEST_EDITED)


async def list_by_ids(session: AsyncSession, job_ids: Sequence[str]) -> list[Job]:
    """Return the jobs with these ids, of any user."""
    query = select(JOBS).where(JOBS.c.job_id.in_(job_ids))
    return [to_job(row) for row in (await session.execute(query)).mappings()]


async def count_active(session: AsyncSession, user_id: str) -> int:
    """Count the pending and processing jobs of a user."""
    query = select(func.count()).select_from(JOBS).where(JOBS.c.user_id == user_id, IS_ACTIVE)
    return int((await session.execute(query)).scalar_one())


async def list_events(session: AsyncSession, job_id: str) -> Sequence[dict[str, object]]:
    """Return the transitions of a job, oldest first."""
    query = select(EVENTS).where(col(ExportEvent.job_id) == job_id).order_by(col(ExportEvent.sequence))
    return [dict(row) for row in (await session.execute(query)).mappings()]
