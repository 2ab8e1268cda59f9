"""Acquire, renew and release the lease under which an attempt's output is verified and published.

The row names the holder, its finalizer. The lease does not end by the time of day: callbacks are refused until the
holder releases it, or until a rescuer has seen it unrenewed for its whole length (`service.dispatch.observation`).
"""

from collections.abc import Mapping

from sqlalchemy import and_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Report
from service.jobs import transition_sql as sql
from service.jobs.models import IS_ACTIVE, JOBS, Job
from service.jobs.transitions import apply_transition

_FINALIZE = text(sql.update(sql.FINALIZE, sql.REPORTED, sql.NO_FINALIZER))


async def acquire(
    session: AsyncSession, report: Report, finalizer: str, *, lease_seconds: float, now: float
) -> Job | None:
    """Lease an attempt that reports a complete output, while the output is verified and published.

    None if the report is not newer than the row, or another finalizer has the lease. Until the release, only a cancel
    or a later report of the run can change the job.
    """
    output = report.output
    values = {
        "job_id": report.job_id,
        "attempt": report.attempt,
        "call_id": report.call_id,
        "run": report.run,
        "step": report.step,
        "message": "Checking the exported file",
        "lease_until": now + lease_seconds,
        "finalizer": finalizer,
        "size": output.size if output else None,
        "checksum": output.checksum if output else None,
    }
    return await apply_transition(session, _FINALIZE, values, now)


async def renew(
    session: AsyncSession, leases: Mapping[str, str], *, lease_seconds: float, now: float
) -> set[str]:
    """Renew leases, given as finalizer → job id; return the finalizers that still had theirs.

    A job that was cancelled after the acquisition keeps its finalizer until its output is no longer being moved.
    """
    is_holder = and_(JOBS.c.job_id.in_(leases.values()), JOBS.c.finalizer.in_(leases.keys()))
    # The same order as batches of callbacks use: otherwise two could wait for each other's rows.
    locked = select(JOBS.c.job_id).where(is_holder).order_by(JOBS.c.job_id).with_for_update()
    renewed = update(JOBS).where(JOBS.c.job_id.in_(locked), is_holder).values(lease_until=now + lease_seconds)
    return set((await session.execute(renewed.returning(JOBS.c.finalizer))).scalars())


async def release(session: AsyncSession, job_id: str, finalizer: str) -> None:
    """Release a lease: no output is being moved any more."""
    is_holder = and_(JOBS.c.job_id == job_id, JOBS.c.finalizer == finalizer)
    await session.execute(update(JOBS).where(is_holder).values(lease_until=None, finalizer=None))


async def release_all(session: AsyncSession) -> None:
    """Release the leases of all active jobs; only for a database that a single process owns."""
    is_leased = and_(IS_ACTIVE, JOBS.c.finalizer.is_not(None))
    await session.execute(update(JOBS).where(is_leased).values(lease_until=None, finalizer=None))
