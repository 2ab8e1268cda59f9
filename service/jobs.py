"""The state machine, and the only writer of job rows. Every change is one conditional statement.

These functions take a session and never commit; each returns the row as it stood after the change, or None
when the row was not in a state that allows it. The callbacks' own change is in `service.progress`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Table, and_, false, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from callbacks.envelope import Phase, Report
from infra.database import CHANGED
from service.models import IS_ACTIVE, ExportEvent, ExportJob, Job, Status

JOBS: Table = ExportJob.__table__  # type: ignore[attr-defined]
EVENTS: Table = ExportEvent.__table__  # type: ignore[attr-defined]

UNTOLD = "untold"
"""In a session's info: the jobs as they stood after each change of the transaction, for the outbox."""

_waiting = and_(IS_ACTIVE, col(ExportJob.status) == Status.PENDING, col(ExportJob.call_id).is_(None))


@dataclass(frozen=True)
class Submission:
    """What a user asked for, checked."""

    job_id: str
    user_id: str
    type: str
    config: str
    input_key: str
    output_key: str
    project_id: str | None = None
    traceparent: str | None = None


async def one_at_a_time(session: AsyncSession, user_id: str) -> None:
    """Let nobody else submit for the user until the transaction ends: what it counts and looks up stays true.

    SQLite has one writer at a time anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(user_id, 0))))


async def submit(
    session: AsyncSession, asked: Submission, *, runner: str, attempt_limit: int, now: float
) -> Job:
    """A new row, pending: from here on nothing about the job lives only in memory."""
    values = {
        **asked.__dict__,
        "status": Status.PENDING,
        "phase": Phase.QUEUED,
        "message": "Waiting for a free place",
        "runner": runner,
        "attempt_limit": attempt_limit,
        "created_at": now,
    }
    row = (await session.execute(insert(JOBS).values(values).returning(JOBS))).mappings().one()
    return await _record(session, as_job(row), now)


async def cancel(session: AsyncSession, user_id: str, job_id: str, *, now: float) -> Job | None:
    """Active → cancelled."""
    ended = {
        "status": Status.CANCELLED,
        "phase": Phase.DONE,
        "message": "Cancelled",
        "completed_at": now,
        "lease_until": None,
        "eta_seconds": None,
    }
    return await _change(session, and_(_is(job_id, user_id), IS_ACTIVE), ended, now)


async def retry(session: AsyncSession, user_id: str, job_id: str, *, attempts: int, now: float) -> Job | None:
    """Failed or cancelled → pending, as a new attempt with a full allowance of attempts."""
    over = col(ExportJob.status).in_((Status.ERROR, Status.CANCELLED))
    values = _fresh_attempt() | {
        "attempt_limit": col(ExportJob.attempt) + attempts,
        "message": "Waiting for a free place",
        "not_before": 0.0,
        "output_size": None,
        "output_checksum": None,
    }
    return await _change(session, and_(_is(job_id, user_id), over), values, now)


async def acknowledge(
    session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float
) -> list[Job]:
    """Mark finished jobs as seen; those unfinished, unknown or seen before are left as they are."""
    seen = and_(
        col(ExportJob.user_id) == user_id,
        col(ExportJob.job_id).in_(job_ids),
        col(ExportJob.completed_at).is_not(None),
        col(ExportJob.acknowledged_at).is_(None),
    )
    rows = await session.execute(update(JOBS).where(seen).values(acknowledged_at=now).returning(JOBS))
    return [as_job(row) for row in rows.mappings()]


async def claim(
    session: AsyncSession, *, places: int, per_user: int, lease_seconds: float, now: float
) -> list[Job]:
    """Lease waiting jobs, round-robin over users, to whoever is about to spawn them."""
    ready = and_(_waiting, col(ExportJob.lease_until).is_(None), col(ExportJob.not_before) <= now)
    taken = or_(col(ExportJob.call_id).is_not(None), col(ExportJob.lease_until).is_not(None))
    running = (
        select(JOBS.c.user_id, func.count().label("running"))
        .where(IS_ACTIVE, taken)
        .group_by(JOBS.c.user_id)
        .subquery()
    )
    place_in_line = func.row_number().over(partition_by=JOBS.c.user_id, order_by=JOBS.c.job_id)
    turn = (place_in_line + func.coalesce(running.c.running, 0)).label("turn")
    ranked = (
        select(JOBS.c.job_id, turn)
        .select_from(JOBS.outerjoin(running, running.c.user_id == JOBS.c.user_id))
        .where(ready)
        .subquery()
    )
    fair = select(ranked.c.job_id).where(ranked.c.turn <= per_user).order_by(ranked.c.turn, ranked.c.job_id)
    chosen = select(JOBS.c.job_id).where(ready, JOBS.c.job_id.in_(fair.limit(places)))
    leased = update(JOBS).where(JOBS.c.job_id.in_(chosen.with_for_update(skip_locked=True)))
    rows = await session.execute(leased.values(lease_until=now + lease_seconds).returning(JOBS))
    return [as_job(row) for row in rows.mappings()]


async def lapsed(session: AsyncSession, *, now: float) -> list[Job]:
    """Jobs whose lease ran out before a call was stored: the holder died, and may have spawned a run."""
    found = select(JOBS).where(_waiting, col(ExportJob.lease_until) < now)
    return [as_job(row) for row in (await session.execute(found)).mappings()]


async def spawned(session: AsyncSession, job: Job, call_id: str, *, now: float) -> Job | None:
    """Store the call that runs the attempt; None if the attempt is over already.

    The run may have reported before this is written: then its phase and call stay as they are.
    """
    same = and_(_is(job.job_id, job.user_id), col(ExportJob.attempt) == job.attempt, IS_ACTIVE)
    values: dict[str, object] = {"heartbeat_at": now, "spawned_at": now, "lease_until": None}
    starting = {"call_id": call_id, "phase": Phase.STARTING, "message": "Waiting for the run to start"}
    first = await _change(session, and_(same, _waiting), values | starting, now)
    if first is not None:
        return first
    rows = await session.execute(update(JOBS).where(same).values(spawned_at=now).returning(JOBS))
    found = rows.mappings().one_or_none()
    return as_job(found) if found else None


async def finalize(session: AsyncSession, report: Report, *, lease_seconds: float, now: float) -> Job | None:
    """Lease an attempt that claims to be complete while its output is checked and moved.

    Nobody else gives up on the attempt meanwhile; only a cancel may still come between.
    """
    newer = or_(
        col(ExportJob.run) < report.run,
        and_(col(ExportJob.run) == report.run, col(ExportJob.step) < report.step),
    )
    current = and_(
        col(ExportJob.job_id) == report.job_id, col(ExportJob.attempt) == report.attempt, newer, IS_ACTIVE
    )
    values: dict[str, object] = {
        "status": Status.PROCESSING,
        "phase": Phase.FINALIZING,
        "run": report.run,
        "step": report.step - 1,  # a tick that comes late, or an older run's, must not undo this
        "message": "Checking the exported file",
        "heartbeat_at": now,
        "started_at": func.coalesce(col(ExportJob.started_at), now),
        "lease_until": now + lease_seconds,
        # Whoever ends the job otherwise, after a crash as well, knows by these what to withdraw.
        "output_size": report.output.size if report.output else None,
        "output_checksum": report.output.checksum if report.output else None,
    }
    return await _change(session, current, values, now)


async def silent(session: AsyncSession, *, silence_seconds: float, now: float, limit: int = 100) -> list[Job]:
    """Active jobs whose call has not been heard of for a while, leased to the caller for one look."""
    quiet = and_(
        IS_ACTIVE,
        col(ExportJob.call_id).is_not(None),
        col(ExportJob.heartbeat_at) < now - silence_seconds,
        or_(col(ExportJob.lease_until).is_(None), col(ExportJob.lease_until) < now),
    )
    chosen = select(JOBS.c.job_id).where(quiet).limit(limit).with_for_update(skip_locked=True)
    leased = update(JOBS).where(JOBS.c.job_id.in_(chosen)).values(lease_until=now + silence_seconds / 2)
    rows = await session.execute(leased.returning(JOBS))
    return [as_job(row) for row in rows.mappings()]


async def overdue(
    session: AsyncSession, *, started_before: float, spawned_before: float, now: float, limit: int = 100
) -> list[Job]:
    """Active jobs that have run for too long, or have waited too long for their call to start.

    One that is leased, because its output is being taken in or it is being asked after, is left alone meanwhile.
    """
    late = or_(
        and_(col(ExportJob.status) == Status.PROCESSING, col(ExportJob.started_at) < started_before),
        and_(col(ExportJob.status) == Status.PENDING, col(ExportJob.spawned_at) < spawned_before),
    )
    free = or_(col(ExportJob.lease_until).is_(None), col(ExportJob.lease_until) < now)
    found = select(JOBS).where(IS_ACTIVE, free, late).limit(limit)
    return [as_job(row) for row in (await session.execute(found)).mappings()]


async def left_over(session: AsyncSession, runner: str, *, of_this_instance: str) -> list[Job]:
    """Active jobs whose call belongs to an earlier life of this service."""
    foreign = and_(
        IS_ACTIVE,
        col(ExportJob.runner) == runner,
        or_(
            col(ExportJob.call_id).is_not(None) & ~col(ExportJob.call_id).startswith(of_this_instance),
            col(ExportJob.call_id).is_(None) & col(ExportJob.lease_until).is_not(None),
        ),
    )
    return [as_job(row) for row in (await session.execute(select(JOBS).where(foreign))).mappings()]


async def by_call(session: AsyncSession, call_ids: Sequence[str], *, now: float) -> list[Job]:
    """Active jobs whose present attempt is one of these calls, but for those whose output is being taken in."""
    finalizing = and_(col(ExportJob.phase) == Phase.FINALIZING, col(ExportJob.lease_until) >= now)
    ours = and_(IS_ACTIVE, col(ExportJob.call_id).in_(call_ids), ~func.coalesce(finalizing, false()))
    return [as_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]


async def running_here(session: AsyncSession, instance: str) -> list[Job]:
    """Active jobs whose call belongs to this instance."""
    ours = and_(IS_ACTIVE, col(ExportJob.call_id).startswith(instance))
    return [as_job(row) for row in (await session.execute(select(JOBS).where(ours))).mappings()]


async def give_back(
    session: AsyncSession,
    job: Job,
    message: str,
    *,
    counted: bool,
    not_before: float,
    now: float,
    unstarted: bool = False,
) -> Job | None:
    """The attempt was lost: pending again, as the next attempt. None if it is not current, or was the last.

    `counted=False` is for losses that are nobody's failure, such as a shutdown: the allowance grows by one.
    `unstarted=True` spares an attempt that has a call by now.
    """
    current = and_(_is(job.job_id, job.user_id), col(ExportJob.attempt) == job.attempt, IS_ACTIVE)
    if counted:
        current = and_(current, col(ExportJob.attempt) < ExportJob.attempt_limit)
    if unstarted:
        current = and_(current, _waiting)
    values = _fresh_attempt() | {
        "attempt_limit": col(ExportJob.attempt_limit) + (0 if counted else 1),
        "message": message,
        "not_before": not_before,
    }
    return await _change(session, current, values, now)


async def fail(
    session: AsyncSession, job: Job, code: str, message: str, *, now: float, unstarted: bool = False
) -> Job | None:
    """Active → error, for failures that the service itself finds. None if the attempt is not current."""
    current = and_(_is(job.job_id, job.user_id), col(ExportJob.attempt) == job.attempt, IS_ACTIVE)
    if unstarted:
        current = and_(current, _waiting)
    values = {
        "status": Status.ERROR,
        "phase": Phase.DONE,
        "message": message,
        "error_code": code,
        "error_message": message,
        "completed_at": now,
        "lease_until": None,
        "eta_seconds": None,
    }
    return await _change(session, current, values, now)


def as_job(row: Mapping[Any, Any]) -> Job:
    """A row as the value that travels."""
    return msgspec.convert(dict(row), Job)


def _is(job_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(col(ExportJob.job_id) == job_id, col(ExportJob.user_id) == user_id)


def _fresh_attempt() -> dict[str, object]:
    return {
        "status": Status.PENDING,
        "phase": Phase.QUEUED,
        "progress": 0.0,
        "attempt": col(ExportJob.attempt) + 1,
        "run": "",
        "step": 0,
        "call_id": None,
        "lease_until": None,
        "heartbeat_at": None,
        "spawned_at": None,
        "error_code": None,
        "error_message": None,
        "completed_at": None,
        "acknowledged_at": None,
        "eta_seconds": None,
        "started_at": None,
    }


async def _change(
    session: AsyncSession, where: ColumnElement[bool], values: dict[str, object], now: float
) -> Job | None:
    sequence = col(ExportJob.sequence) + 1
    numbered = values | {"sequence": sequence, "transition_sequence": sequence}
    row = (
        (await session.execute(update(JOBS).where(where).values(numbered).returning(JOBS)))
        .mappings()
        .one_or_none()
    )
    return await _record(session, as_job(row), now) if row else None


async def _record(session: AsyncSession, job: Job, now: float) -> Job:
    session.info.setdefault(CHANGED, []).append(job.job_id)
    session.info.setdefault(UNTOLD, []).append(job)
    await session.execute(insert(EVENTS).values(transition(job, now)))
    return job


def transition(job: Job, now: float) -> dict[str, object]:
    """The timeline's row for a job that has just changed its state."""
    return {
        "job_id": job.job_id,
        "sequence": job.sequence,
        "at": now,
        "attempt": job.attempt,
        "status": job.status,
        "phase": job.phase,
        "progress": job.progress,
        "message": job.message,
    }
