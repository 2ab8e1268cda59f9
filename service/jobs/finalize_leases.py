"""Who may verify and publish an attempt's output: the statements that take, renew and release the lease of it.

The row names whoever holds the lease. Nobody takes it from them by the time of day: callbacks find it held until the
holder releases it, or a watch has seen it unrenewed for as long as it lasts (see `service.dispatch.observation`).
"""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import Phase, Report
from service.jobs.models import IS_ACTIVE, JOBS, Job, Status
from service.jobs.transitions import update_job


async def acquire(
    session: AsyncSession, report: Report, finalizer: str, *, lease_seconds: float, now: float
) -> Job | None:
    """Lease an attempt that claims to be complete while its output is verified and published.

    None if the report is not news, or somebody else has the lease. Nobody gives up on the attempt meanwhile; only a
    cancel may still come between, and what the run itself reports later.
    """
    current = and_(
        JOBS.c.job_id == report.job_id,
        JOBS.c.attempt == report.attempt,
        JOBS.c.finalizer.is_(None),
        or_(JOBS.c.call_id.is_(None), JOBS.c.call_id == report.call_id),
        _is_older_than(report),
        IS_ACTIVE,
    )
    values: dict[str, object] = {
        "status": Status.PROCESSING,
        "phase": Phase.FINALIZING,
        "run": report.run,
        "reported_call_id": report.call_id,
        "gpu_seconds_before": case(
            (JOBS.c.run == report.run, JOBS.c.gpu_seconds_before),
            else_=JOBS.c.gpu_seconds,
        ),
        "step": report.step - 1,  # a tick that comes late, or an older run's, must not undo this
        "message": "Checking the exported file",
        "heartbeat_at": now,
        "started_at": func.coalesce(JOBS.c.started_at, now),
        "lease_until": now + lease_seconds,
        "finalizer": finalizer,
        # Whoever ends the job otherwise, after a crash as well, knows by these what to withdraw.
        "output_size": report.output.size if report.output else None,
        "output_checksum": report.output.checksum if report.output else None,
    }
    return await update_job(session, current, values, now)


async def renew(
    session: AsyncSession, held: Mapping[str, str], *, lease_seconds: float, now: float
) -> set[str]:
    """Renew leases, given as finalizer → job id; return the finalizers that still had theirs.

    A job that was cancelled meanwhile is its finalizer's too, until nothing is on the way to its place any more.
    """
    holds = and_(JOBS.c.job_id.in_(held.values()), JOBS.c.finalizer.in_(held.keys()))
    # In one order in every replica, as batches of callbacks go: else two might wait for each other's rows crosswise.
    locked = select(JOBS.c.job_id).where(holds).order_by(JOBS.c.job_id).with_for_update()
    renewed = update(JOBS).where(JOBS.c.job_id.in_(locked), holds).values(lease_until=now + lease_seconds)
    return set((await session.execute(renewed.returning(JOBS.c.finalizer))).scalars())


async def release(session: AsyncSession, job_id: str, finalizer: str) -> None:
    """Give a lease up: nothing is on the way to its place any more."""
    ours = and_(JOBS.c.job_id == job_id, JOBS.c.finalizer == finalizer)
    await session.execute(update(JOBS).where(ours).values(lease_until=None, finalizer=None))


async def release_all(session: AsyncSession) -> None:
    """Take the leases of all active jobs away, where no other process can be at work."""
    held = and_(IS_ACTIVE, JOBS.c.finalizer.is_not(None))
    await session.execute(update(JOBS).where(held).values(lease_until=None, finalizer=None))


def _is_older_than(report: Report) -> ColumnElement[bool]:
    same_run = and_(JOBS.c.run == report.run, JOBS.c.step < report.step)
    return or_(JOBS.c.run < report.run, same_run)
