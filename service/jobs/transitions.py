"""The state machine: each change of a job row is one conditional statement.

These functions take a session and never commit; each returns the row as it stood after the change, or None
when the row was not in a state that allows it. The callbacks' own change is in `service.ingest.store`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, TextClause, and_, insert, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Phase
from infra.database.base import CHANGE_LOG, dialect_of
from service.jobs import transition_sql
from service.jobs.models import IS_ACTIVE, JOBS, Job, Status
from service.jobs.transition_sql import Charge

CHANGED_JOBS = "untold"
"""In a session's info: the jobs as they stood after each change of the transaction, for the outbox."""

UNSTARTED = and_(IS_ACTIVE, JOBS.c.status == Status.PENDING, JOBS.c.call_id.is_(None))

_SPENT = "gpu_seconds_before = gpu_seconds"
_OF_USER = "job_id = :job_id AND user_id = :user_id"
_CANCEL = text(transition_sql.update(transition_sql.CANCEL, _OF_USER, transition_sql.ACTIVE))
_RETRY = text(
    transition_sql.update(
        f"{transition_sql.RETRY}, {_SPENT}",
        _OF_USER,
        "status IN ('error', 'cancelled')",
        "coalesce(lease_until, 0) <= :now",  # its last output may still be on the way
    )
)
# Whether an attempt must not have started yet → the statement.
_REQUEUE = {
    unstarted: text(
        transition_sql.update(f"{transition_sql.REQUEUE}, {_SPENT}", guard, transition_sql.ALLOWED)
    )
    for unstarted, guard in ((False, transition_sql.CURRENT), (True, transition_sql.UNSTARTED))
}
_FAIL = {
    unstarted: text(transition_sql.update(transition_sql.FAIL, guard))
    for unstarted, guard in ((False, transition_sql.CURRENT), (True, transition_sql.UNSTARTED))
}
_INSERT_EVENT = text(transition_sql.INSERT_EVENT)
_TRIM = {ends: text(statement) for ends, statement in transition_sql.TRIM.items()}


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


async def lock_user(session: AsyncSession, user_id: str) -> None:
    """Serialize per user until the transaction ends, so that quota and key checks cannot race."""
    await dialect_of(session).lock(session, user_id)


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
    return await _record(session, to_job(row), now)


async def cancel(session: AsyncSession, user_id: str, job_id: str, *, now: float) -> Job | None:
    """Active → cancelled. A lease under which its output is being put into its place goes on until that has ended."""
    values = {"job_id": job_id, "user_id": user_id, "message": "Cancelled"}
    return await _apply(session, _CANCEL, values, now)


async def retry(session: AsyncSession, user_id: str, job_id: str, *, attempts: int, now: float) -> Job | None:
    """Failed or cancelled → pending, as a new attempt with a full allowance of attempts."""
    values = {
        "job_id": job_id,
        "user_id": user_id,
        "message": "Waiting for a free place",
        "attempts": attempts,
    }
    return await _apply(session, _RETRY, values, now)


async def acknowledge(
    session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float
) -> list[Job]:
    """Mark finished jobs as seen; those unfinished, unknown or seen before are left as they are."""
    seen = and_(
        JOBS.c.user_id == user_id,
        JOBS.c.job_id.in_(job_ids),
        JOBS.c.completed_at.is_not(None),
        JOBS.c.acknowledged_at.is_(None),
    )
    rows = await session.execute(update(JOBS).where(seen).values(acknowledged_at=now).returning(JOBS))
    return [to_job(row) for row in rows.mappings()]


async def requeue(
    session: AsyncSession,
    job: Job,
    message: str,
    *,
    charge: Charge,
    not_before: float,
    now: float,
    unstarted: bool = False,
) -> Job | None:
    """The attempt was lost: pending again, as the next attempt. None if it is not current, or was the last.

    `unstarted=True` spares an attempt that has a call by now.
    """
    values = {
        "job_id": job.job_id,
        "attempt": job.attempt,
        "requeue_message": message,
        "not_before": not_before,
        **charge.values,
    }
    return await _apply(session, _REQUEUE[unstarted], values, now)


async def fail(
    session: AsyncSession, job: Job, code: str, message: str, *, now: float, unstarted: bool = False
) -> Job | None:
    """Active → error, for failures that the service itself finds. None if the attempt is not current."""
    values = {"job_id": job.job_id, "attempt": job.attempt, "code": code, "message": message}
    return await _apply(session, _FAIL[unstarted], values, now)


def to_job(row: Mapping[Any, Any]) -> Job:
    """A row as the value that travels."""
    return msgspec.convert(dict(row), Job)


def match_job(job_id: str, user_id: str) -> ColumnElement[bool]:
    """The one job, if it is the user's."""
    return and_(JOBS.c.job_id == job_id, JOBS.c.user_id == user_id)


async def update_job(
    session: AsyncSession, where: ColumnElement[bool], values: dict[str, object], now: float
) -> Job | None:
    """One conditional change, numbered and recorded; the row after it, or None if it met no row."""
    job = await _update(session, where, values | {"transition_sequence": JOBS.c.sequence + 1})
    return await _record(session, job, now) if job else None


async def annotate(
    session: AsyncSession, where: ColumnElement[bool], values: dict[str, object]
) -> Job | None:
    """Make a change that is numbered, but no transition; return the row after it, or None if it met no row."""
    job = await _update(session, where, values)
    return _note(session, job) if job else None


async def _update(session: AsyncSession, where: ColumnElement[bool], values: dict[str, object]) -> Job | None:
    numbered = values | {"sequence": JOBS.c.sequence + 1}
    rows = await session.execute(update(JOBS).where(where).values(numbered).returning(JOBS))
    row = rows.mappings().one_or_none()
    return to_job(row) if row else None


async def _apply(
    session: AsyncSession, transition: TextClause, values: Mapping[str, object], now: float
) -> Job | None:
    """Make a transition and record it; the row after it, or None if it met no row."""
    row = (await session.execute(transition, {**values, "now": now})).mappings().one_or_none()
    return await _record(session, to_job(row), now) if row else None


async def _record(session: AsyncSession, job: Job, now: float) -> Job:
    await session.execute(_INSERT_EVENT, to_event_row(job, now))
    if may_need_trim(job):
        await session.execute(_TRIM[job.status.is_final], {"job_id": job.job_id})
    return _note(session, job)


def _note(session: AsyncSession, job: Job) -> Job:
    """Note that the transaction has changed the job: for other replicas, and for the outbox."""
    session.info.setdefault(CHANGE_LOG, []).append((job.job_id, job.user_id))
    session.info.setdefault(CHANGED_JOBS, []).append(job)
    return job


def may_need_trim(job: Job) -> bool:
    """Whether the job has changed often enough for its timeline to be longer than it may be."""
    return job.sequence > min(transition_sql.KEPT_STEPS, transition_sql.KEPT_ENDS)


def to_event_row(job: Job, now: float) -> dict[str, object]:
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
