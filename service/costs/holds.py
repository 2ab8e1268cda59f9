"""Hold back exports that wait while a day's budget is used up: they start when the next day begins."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import and_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.jobs.models import IS_ACTIVE, JOBS, Job, Status
from service.jobs.transitions import annotate

JOBS_AT_ONCE: Final = 50
_WAITS = and_(
    IS_ACTIVE, JOBS.c.status == Status.PENDING, JOBS.c.call_id.is_(None), JOBS.c.lease_until.is_(None)
)
_RELEASE = text(f"""
UPDATE export_jobs SET held_until = NULL, not_before = coalesce(scheduled_at, 0), sequence = sequence + 1,
    message = 'Waiting in the queue'
WHERE {IS_ACTIVE} AND held_until > :now AND held_until = not_before AND call_id IS NULL
""")  # noqa: S608 - a constant


async def hold(
    session: AsyncSession,
    user_ids: Sequence[str] | None,
    explain: Callable[[str], str | None],
    *,
    until: float,
) -> list[Job]:
    """Keep some waiting jobs of these users, or of all, from starting; return them. `explain` says why, by user.

    JOBS_AT_ONCE at most, so that the transaction is short: call it again while it returns as many.
    """
    of_users = [] if user_ids is None else [JOBS.c.user_id.in_(user_ids)]
    query = select(JOBS.c.job_id, JOBS.c.user_id).where(_WAITS, JOBS.c.not_before < until, *of_users)
    held = []
    # What another transaction changes comes in the next round: waiting for it could deadlock.
    free = query.limit(JOBS_AT_ONCE).with_for_update(skip_locked=True)
    for job_id, user_id in (await session.execute(free)).all():
        values: dict[str, object] = {"not_before": until, "held_until": until}
        values["message"] = explain(user_id) or "Waiting in the queue"
        job = await annotate(session, and_(JOBS.c.job_id == job_id, _WAITS), values)
        if job is not None:
            held.append(job)
    return held


async def release_all(session: AsyncSession, *, now: float) -> None:
    """Let the jobs that are held back start: the limits may have changed with the settings."""
    await session.execute(_RELEASE, {"now": now})
