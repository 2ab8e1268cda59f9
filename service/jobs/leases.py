"""Claim and lease jobs; list those that are watched, orphaned or run by a call.

The dispatcher and the rescuer use these functions. They take a session and never commit.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Phase
from service.clock import DAY_SECONDS
from service.jobs import transition_sql as sql
from service.jobs.models import HAS_TIME_LIMIT, IS_ACTIVE, JOBS, Job, Status
from service.jobs.queue import fair_share
from service.jobs.retry_rule import LONGEST_PAUSE_SECONDS
from service.jobs.transitions import UNSTARTED, annotate, apply_transition, match_job, to_job

_SPAWN = text(sql.update(sql.SPAWN, sql.CURRENT, sql.NO_CALL, sql.UNREPORTED))


class WatchedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the rescuer compares between two looks; `sequence` grows with every report."""

    job_id: str
    attempt: int
    status: Status
    phase: Phase
    sequence: int
    call_id: str | None
    lease_until: float | None
    finalizer: str | None = None
    progress: float = 0.0

    @property
    def is_unstarted(self) -> bool:
        """Whether the attempt is being started, or the process that was starting it has ended."""
        return self.status is Status.PENDING and self.call_id is None


async def claim(
    session: AsyncSession,
    *,
    slots: int,
    per_user: int,
    priority_seconds: float = 0.0,
    lease_seconds: float,
    usd_per_second: float | None = 0.0,
    now: float,
) -> list[Job]:
    """Lease pending jobs to the caller, who starts them; `service.jobs.queue.fair_share` selects them.

    A second of their attempts costs `usd_per_second`, None if that is unknown.
    """
    job_ids = await fair_share.select_jobs(
        session, slots=slots, per_user=per_user, priority_seconds=priority_seconds, now=now
    )
    if not job_ids:
        return []
    free = select(JOBS.c.job_id).where(JOBS.c.job_id.in_(job_ids)).with_for_update(skip_locked=True)
    # Not `UNSTARTED`: with that condition SQLite scans all pending jobs.
    ready = and_(
        JOBS.c.status == Status.PENDING,
        JOBS.c.call_id.is_(None),
        JOBS.c.lease_until.is_(None),
        JOBS.c.not_before <= now,
    )
    values = {"lease_until": now + lease_seconds, "usd_per_second": usd_per_second}
    leased = update(JOBS).where(JOBS.c.job_id.in_(free), ready).values(values)
    rows = (await session.execute(leased.returning(JOBS))).mappings()
    jobs = sorted((to_job(row) for row in rows), key=lambda job: job_ids.index(job.job_id))
    await fair_share.record_starts(session, [(job.job_id, job.attempt, job.user_id) for job in jobs], now=now)
    return jobs


async def list_watched(session: AsyncSession) -> list[WatchedJob]:
    """Return the active jobs that a replica has leased or that have a known run."""
    is_watched = or_(~UNSTARTED, JOBS.c.lease_until.is_not(None))
    columns = (JOBS.c[name] for name in WatchedJob.__struct_fields__)
    rows = await session.execute(select(*columns).where(IS_ACTIVE, is_watched))
    return [msgspec.convert(dict(row), WatchedJob) for row in rows.mappings()]


async def list_time_limited(session: AsyncSession) -> list[Job]:
    """Return the active jobs whose client has limited their time."""
    query = select(JOBS).where(HAS_TIME_LIMIT)
    return [to_job(row) for row in (await session.execute(query)).mappings()]


async def list_unchanged(session: AsyncSession, seen: Sequence[WatchedJob]) -> list[Job]:
    """Return the jobs that were neither changed nor leased since they were seen."""
    query = select(JOBS).where(_is_unchanged(seen))
    return [to_job(row) for row in (await session.execute(query)).mappings()]


async def lease_silent(
    session: AsyncSession, seen: Sequence[WatchedJob], *, lease_seconds: float, now: float
) -> list[Job]:
    """Lease to the caller the jobs that were neither changed nor leased since they were seen.

    A finalizer of one of them loses its lease by that.
    """
    unchanged_ids = select(JOBS.c.job_id).where(_is_unchanged(seen)).with_for_update(skip_locked=True)
    values = {"lease_until": now + lease_seconds, "finalizer": None}
    leased = update(JOBS).where(JOBS.c.job_id.in_(unchanged_ids)).values(values)
    rows = await session.execute(leased.returning(JOBS))
    return [to_job(row) for row in rows.mappings()]


async def end_long_pauses(session: AsyncSession, *, now: float) -> None:
    """End the pauses that are longer than any pause can be: the clock was set back after them.

    A budget holds an export until the end of the day.
    """
    too_late = now + LONGEST_PAUSE_SECONDS
    is_scheduled = JOBS.c.scheduled_at.is_not(None) & (JOBS.c.not_before == JOBS.c.scheduled_at)
    is_held = JOBS.c.held_until.is_not(None) & (JOBS.c.not_before == JOBS.c.held_until)
    is_held &= JOBS.c.held_until <= now + DAY_SECONDS
    is_free = JOBS.c.lease_until.is_(None)
    waiting = and_(UNSTARTED, is_free, JOBS.c.not_before > too_late, ~is_scheduled, ~is_held)
    await session.execute(update(JOBS).where(waiting).values(not_before=now))


def _is_unchanged(seen: Sequence[WatchedJob]) -> ColumnElement[bool]:
    ids = JOBS.c.job_id.in_([job.job_id for job in seen])
    same = tuple_(JOBS.c.job_id, JOBS.c.sequence).in_([(job.job_id, job.sequence) for job in seen])
    leases = {job.lease_until for job in seen if job.lease_until is not None}
    free = or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until.in_(leases))
    return and_(IS_ACTIVE, ids, same, free)


async def record_spawn(session: AsyncSession, job: Job, call_id: str, *, now: float) -> Job | None:
    """Store the call that runs the attempt; None if the attempt has already ended.

    A run may report before its call is stored. If it named this call, the job stays as it is. If it named another
    call, one that no row names, its reports are undone, and later ones are refused.
    """
    same = and_(match_job(job.job_id, job.user_id), JOBS.c.attempt == job.attempt, IS_ACTIVE)
    unknown = and_(same, JOBS.c.call_id.is_(None))
    values: dict[str, object] = {"call_id": call_id, "spawned_at": now}
    has_reported = and_(unknown, JOBS.c.reported_call_id == call_id)
    parameters = {
        "job_id": job.job_id,
        "attempt": job.attempt,
        "call_id": call_id,
        "message": "Waiting for the run to start",
    }
    # Between the first two statements another transaction may store the call's first report.
    return (
        await annotate(session, has_reported, values)
        or await apply_transition(session, _SPAWN, parameters, now)
        or await annotate(session, has_reported, values)
    )


async def list_orphaned(session: AsyncSession, runner: str, *, of_this_instance: str) -> list[Job]:
    """Return the active jobs whose call belongs to an earlier process of this service, or to none.

    Where calls outlive the service (`of_this_instance` is empty), a run that has reported continues.
    """
    reported = JOBS.c.reported_call_id
    foreign = and_(
        IS_ACTIVE,
        JOBS.c.runner == runner,
        or_(
            JOBS.c.call_id.is_not(None) & ~JOBS.c.call_id.startswith(of_this_instance),
            JOBS.c.call_id.is_(None) & reported.is_(None) & JOBS.c.lease_until.is_not(None),
            JOBS.c.call_id.is_(None) & ~reported.startswith(of_this_instance),
        ),
    )
    return [to_job(row) for row in (await session.execute(select(JOBS).where(foreign))).mappings()]


async def find_by_call(session: AsyncSession, call_ids: Sequence[str]) -> list[Job]:
    """Return the active jobs whose attempt is one of these calls, without those being finalized."""
    ours = and_(IS_ACTIVE, JOBS.c.call_id.in_(call_ids), JOBS.c.finalizer.is_(None))
    return [to_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]


async def list_local_runs(session: AsyncSession, instance: str) -> list[Job]:
    """Return the active jobs whose call belongs to this instance."""
    ours = and_(IS_ACTIVE, JOBS.c.call_id.startswith(instance))
    return [to_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]
