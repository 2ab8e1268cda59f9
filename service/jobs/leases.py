"""Who may do what with an active job, and until when: claims, leases, and the rows that nobody has heard of.

The dispatcher's and the watch's half of the state machine; like the other, it takes a session and never commits.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, and_, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Phase
from service.jobs import fair_share
from service.jobs.models import IS_ACTIVE, JOBS, Job, Status
from service.jobs.transition_sql import LONGEST_PAUSE_SECONDS
from service.jobs.transitions import UNSTARTED, annotate, match_job, to_job, update_job


class WatchedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the watch goes by; `sequence` counts up with every report."""

    job_id: str
    attempt: int
    status: Status
    phase: Phase
    sequence: int
    call_id: str | None
    lease_until: float | None
    finalizer: str | None = None

    @property
    def is_unstarted(self) -> bool:
        """Whether somebody is about to start the attempt, or died over it."""
        return self.status is Status.PENDING and self.call_id is None


async def claim(
    session: AsyncSession, *, places: int, per_user: int, lease_seconds: float, now: float
) -> list[Job]:
    """Lease waiting jobs to whoever is about to spawn them, by turns of users: see `service.jobs.fair_share`."""
    job_ids = await fair_share.select_jobs(session, places=places, per_user=per_user, now=now)
    if not job_ids:
        return []
    free = select(JOBS.c.job_id).where(JOBS.c.job_id.in_(job_ids)).with_for_update(skip_locked=True)
    # Not `UNSTARTED`: with that, SQLite would look through all that are pending.
    ready = and_(
        JOBS.c.status == Status.PENDING,
        JOBS.c.call_id.is_(None),
        JOBS.c.lease_until.is_(None),
        JOBS.c.not_before <= now,
    )
    leased = update(JOBS).where(JOBS.c.job_id.in_(free), ready).values(lease_until=now + lease_seconds)
    rows = (await session.execute(leased.returning(JOBS))).mappings()
    jobs = sorted((to_job(row) for row in rows), key=lambda job: job_ids.index(job.job_id))
    await fair_share.record_starts(session, [(job.job_id, job.attempt, job.user_id) for job in jobs], now=now)
    return jobs


async def list_watched(session: AsyncSession) -> list[WatchedJob]:
    """Every active job that a replica has leased, or that a run is known of."""
    somebodys = or_(~UNSTARTED, JOBS.c.lease_until.is_not(None))
    columns = (JOBS.c[name] for name in WatchedJob.__struct_fields__)
    rows = await session.execute(select(*columns).where(IS_ACTIVE, somebodys))
    return [msgspec.convert(dict(row), WatchedJob) for row in rows.mappings()]


async def list_unchanged(session: AsyncSession, seen: Sequence[WatchedJob]) -> list[Job]:
    """Those of the jobs that nobody has changed or leased since they were seen."""
    found = select(JOBS).where(_is_unchanged(seen))
    return [to_job(row) for row in (await session.execute(found)).mappings()]


async def lease_silent(
    session: AsyncSession, seen: Sequence[WatchedJob], *, lease_seconds: float, now: float
) -> list[Job]:
    """Lease to the caller, for one look, those of the jobs that nobody has changed or leased since.

    Whoever was publishing the output of one of them has lost it by that.
    """
    chosen = select(JOBS.c.job_id).where(_is_unchanged(seen)).with_for_update(skip_locked=True)
    values = {"lease_until": now + lease_seconds, "finalizer": None}
    leased = update(JOBS).where(JOBS.c.job_id.in_(chosen)).values(values)
    rows = await session.execute(leased.returning(JOBS))
    return [to_job(row) for row in rows.mappings()]


async def end_long_pauses(session: AsyncSession, *, now: float) -> None:
    """A pause that ends later than any pause can was written before the clock went back: end it."""
    too_late = now + LONGEST_PAUSE_SECONDS
    waiting = and_(UNSTARTED, JOBS.c.lease_until.is_(None), JOBS.c.not_before > too_late)
    await session.execute(update(JOBS).where(waiting).values(not_before=now))


def _is_unchanged(seen: Sequence[WatchedJob]) -> ColumnElement[bool]:
    ids = JOBS.c.job_id.in_([job.job_id for job in seen])
    same = tuple_(JOBS.c.job_id, JOBS.c.sequence).in_([(job.job_id, job.sequence) for job in seen])
    leases = {job.lease_until for job in seen if job.lease_until is not None}
    free = or_(JOBS.c.lease_until.is_(None), JOBS.c.lease_until.in_(leases))
    return and_(IS_ACTIVE, ids, same, free)


async def record_spawn(session: AsyncSession, job: Job, call_id: str, *, now: float) -> Job | None:
    """Store the call that runs the attempt; None if the attempt is over already.

    A run may have reported before this is written. If it named this call, it goes on where it is; if it named another
    one, which nobody knows of, whatever it reported is taken back, and nothing more of it will be taken in.
    """
    same = and_(match_job(job.job_id, job.user_id), JOBS.c.attempt == job.attempt, IS_ACTIVE)
    unknown = and_(same, JOBS.c.call_id.is_(None))
    values: dict[str, object] = {"call_id": call_id, "spawned_at": now}
    reported = await annotate(session, and_(unknown, JOBS.c.reported_call_id == call_id), values)
    if reported is not None:
        return reported
    starting = {
        "status": Status.PENDING,
        "phase": Phase.STARTING,
        "progress": 0.0,
        "message": "Waiting for the run to start",
        "run": "",
        "step": 0,
        "reported_call_id": None,
        "gpu_seconds": JOBS.c.gpu_seconds_before,
        "eta_seconds": None,
        "started_at": None,
        "heartbeat_at": now,
        "lease_until": None,
        "finalizer": None,
    }
    return await update_job(session, unknown, values | starting, now)


async def list_orphaned(session: AsyncSession, runner: str, *, of_this_instance: str) -> list[Job]:
    """Active jobs whose call belongs to an earlier life of this service, or whose call nobody knows.

    Where calls outlive the service (`of_this_instance` is empty), a run that has reported goes on.
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
    """Active jobs whose present attempt is one of these calls, but for those whose output is being taken in."""
    ours = and_(IS_ACTIVE, JOBS.c.call_id.in_(call_ids), JOBS.c.finalizer.is_(None))
    return [to_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]


async def list_local_runs(session: AsyncSession, instance: str) -> list[Job]:
    """Active jobs whose call belongs to this instance."""
    ours = and_(IS_ACTIVE, JOBS.c.call_id.startswith(instance))
    return [to_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]
