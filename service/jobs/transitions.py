"""The transitions that the service makes: submit, cancel, retry, requeue, fail.

These functions take a session and never commit. Each returns the row after the change, or None if its state did not
allow the change. Callbacks make their transitions in `service.ingest.apply`, with the same SQL.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, TextClause, and_, bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import CHANGE_LOG, dialect_of
from service.jobs import transition_sql as sql
from service.jobs.metadata import delete_entries, insert_entries
from service.jobs.models import IS_ACTIVE, JOBS, Job, Status
from service.jobs.queue.submissions import Submission, to_pending_job
from service.jobs.retry_rule import Charge

CHANGED_JOBS = "changed_jobs"
"""Key in a session's `info`: the jobs after each change of the transaction, for the outbox."""
LOSSES = "losses"
"""Key in a session's `info`: why the latest attempt of a job was lost, by job id."""

UNSTARTED = and_(IS_ACTIVE, JOBS.c.status == Status.PENDING, JOBS.c.call_id.is_(None))

# What a run has used so far is closed when its attempt ends without a report.
_CLOSE_GPU_SECONDS = "gpu_seconds_before = gpu_seconds"
_CANCEL = text(sql.update(sql.CANCEL, sql.OF_USER, sql.ACTIVE))
_CANCEL_ALL = text(
    sql.update(sql.CANCEL, "export_jobs.job_id IN :job_ids", "export_jobs.user_id = :user_id", sql.ACTIVE)
).bindparams(bindparam("job_ids", expanding=True))
_RETRY = text(sql.update(f"{sql.RETRY}, {_CLOSE_GPU_SECONDS}", sql.OF_USER, sql.RETRYABLE))
# By whether the attempt must not have started.
_GUARDS = {False: sql.CURRENT, True: sql.UNSTARTED}
_REQUEUE = {
    unstarted: text(sql.update(f"{sql.REQUEUE}, {_CLOSE_GPU_SECONDS}", guard, sql.ALLOWED))
    for unstarted, guard in _GUARDS.items()
}
_FAIL = {unstarted: text(sql.update(sql.FAIL, guard)) for unstarted, guard in _GUARDS.items()}
_EXPIRE = {
    pending: text(sql.update(sql.FAIL, sql.PENDING if pending else sql.CURRENT, sql.NO_FINALIZER))
    for pending in (False, True)
}
_INSERT_EVENT = text(sql.INSERT_EVENT)
_TRIM = {ends: text(statement) for ends, statement in sql.TRIM.items()}


async def lock_user(session: AsyncSession, user_id: str) -> None:
    """Serialize per user until the transaction ends, so that quota and key checks cannot race."""
    await dialect_of(session).lock(session, user_id)


async def insert_all(session: AsyncSession, jobs: Sequence[Job]) -> None:
    """Insert pending jobs; from here on everything about them is in the database."""
    await session.execute(insert(JOBS), list(map(msgspec.structs.asdict, jobs)))
    await insert_entries(session, jobs)
    await session.execute(_INSERT_EVENT, [to_event_row(job, job.created_at) for job in jobs])
    for job in jobs:
        _note_change(session, job)


async def submit(
    session: AsyncSession,
    submission: Submission,
    *,
    runner: str,
    attempt_limit: int,
    head_start_seconds: float = 0.0,
    now: float,
) -> Job:
    """Insert the pending job of a request."""
    job = to_pending_job(
        submission, runner=runner, attempt_limit=attempt_limit, head_start_seconds=head_start_seconds, now=now
    )
    await insert_all(session, [job])
    return job


async def edit(session: AsyncSession, job: Job, values: Mapping[str, object], *, now: float) -> Job | None:
    """Set what a client may change of its job in any state, which is no transition; None if the job is gone.

    Call it in the user's turn only (`lock_user`), with the job as it is then: the index follows its metadata.
    """
    edited = await annotate(session, match_job(job.job_id, job.user_id), {**values, "edited_at": now})
    if edited is not None and edited.metadata != job.metadata:
        await delete_entries(session, [job])
        await insert_entries(session, [edited])
    return edited


async def cancel(session: AsyncSession, user_id: str, job_id: str, *, now: float) -> Job | None:
    """Cancel an active job. A lease under which its output is being moved lasts until that has ended."""
    values = {"job_id": job_id, "user_id": user_id, "message": "Cancelled"}
    return await apply_transition(session, _CANCEL, values, now)


async def cancel_all(session: AsyncSession, user_id: str, job_ids: Sequence[str], *, now: float) -> list[Job]:
    """Cancel those of the jobs that are active, by one statement.

    A job that another transaction has locked is left out: to wait for it with others locked could be a deadlock.
    """
    is_free = (JOBS.c.user_id == user_id, JOBS.c.job_id.in_(job_ids), IS_ACTIVE)
    free = select(JOBS.c.job_id).where(*is_free).order_by(JOBS.c.job_id).with_for_update(skip_locked=True)
    locked_ids = list((await session.execute(free)).scalars())
    if not locked_ids:
        return []
    values = {"job_ids": locked_ids, "user_id": user_id, "message": "Cancelled", "now": now}
    rows = (await session.execute(_CANCEL_ALL, values)).mappings().all()
    return await _record_all(session, list(map(to_job, rows)), now)


async def retry(session: AsyncSession, user_id: str, job_id: str, *, attempts: int, now: float) -> Job | None:
    """Start a failed or cancelled job again, with `attempts` new attempts."""
    values = {
        "job_id": job_id,
        "user_id": user_id,
        "message": "Waiting in the queue",
        "attempts": attempts,
    }
    return await apply_transition(session, _RETRY, values, now)


async def requeue(
    session: AsyncSession,
    job: Job,
    message: str,
    *,
    reason: str,
    charge: Charge,
    not_before: float,
    now: float,
    unstarted: bool = False,
) -> Job | None:
    """Put the job back to pending, as the next attempt; None if the attempt is not current or was the last.

    `reason` is the code of what ended the attempt. `unstarted=True` changes nothing if a run of it is known.
    """
    session.info.setdefault(LOSSES, {})[job.job_id] = reason
    values = {
        "job_id": job.job_id,
        "attempt": job.attempt,
        "requeue_message": message,
        "not_before": not_before,
        **charge.values,
    }
    return await apply_transition(session, _REQUEUE[unstarted], values, now)


async def fail(
    session: AsyncSession, job: Job, code: str, message: str, *, now: float, unstarted: bool = False
) -> Job | None:
    """Fail an active job for a reason that the service found; None if the attempt is not current."""
    values = {"job_id": job.job_id, "attempt": job.attempt, "code": code, "message": message}
    return await apply_transition(session, _FAIL[unstarted], values, now)


async def expire(
    session: AsyncSession, job: Job, code: str, message: str, *, only_if_pending: bool, now: float
) -> Job | None:
    """Fail an active job whose time is over, unless its output is being published.

    `only_if_pending=True` changes nothing if a run has reported.
    """
    values = {"job_id": job.job_id, "attempt": job.attempt, "code": code, "message": message}
    return await apply_transition(session, _EXPIRE[only_if_pending], values, now)


def to_job(row: Mapping[Any, Any]) -> Job:
    """Convert a row of `export_jobs`."""
    return msgspec.convert(dict(row), Job)


def match_job(job_id: str, user_id: str) -> ColumnElement[bool]:
    """Return the condition that selects a job of a user."""
    return and_(JOBS.c.job_id == job_id, JOBS.c.user_id == user_id)


async def annotate(
    session: AsyncSession, where: ColumnElement[bool], values: dict[str, object]
) -> Job | None:
    """Make a numbered change that is no transition; return the row after it, or None if none met the condition."""
    numbered = values | {"sequence": JOBS.c.sequence + 1}
    rows = await session.execute(update(JOBS).where(where).values(numbered).returning(JOBS))
    row = rows.mappings().one_or_none()
    return _note_change(session, to_job(row)) if row else None


async def apply_transition(
    session: AsyncSession, transition: TextClause, values: Mapping[str, object], now: float
) -> Job | None:
    """Make a transition and record it; return the row after it, or None if the row met not every guard."""
    row = (await session.execute(transition, {**values, "now": now})).mappings().one_or_none()
    if row is None:
        return None
    (job,) = await _record_all(session, [to_job(row)], now)
    return job


async def _record_all(session: AsyncSession, jobs: list[Job], now: float) -> list[Job]:
    await session.execute(_INSERT_EVENT, [to_event_row(job, now) for job in jobs])
    for job in jobs:
        if may_need_trim(job):
            await session.execute(_TRIM[job.status.is_final], {"job_id": job.job_id})
        _note_change(session, job)
    return jobs


def _note_change(session: AsyncSession, job: Job) -> Job:
    """Note in the session that the job was changed, for other replicas and for the outbox."""
    session.info.setdefault(CHANGE_LOG, []).append((job.job_id, job.user_id))
    session.info.setdefault(CHANGED_JOBS, []).append(job)
    return job


def may_need_trim(job: Job) -> bool:
    """Tell whether the job has changed so often that its timeline may be over the limit."""
    return job.sequence > min(sql.KEPT_STEPS, sql.KEPT_ENDS)


def to_event_row(job: Job, now: float) -> dict[str, object]:
    """Return the row of the timeline for a job that has just changed its state."""
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
