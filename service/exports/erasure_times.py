"""Correct the times of erasures that were stored while the clock was ahead; their sweeps would wait for that time."""

from typing import Final

from sqlalchemy import and_, case, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.clock import SLACK_SECONDS
from service.jobs.erasures import ERASURES

LEASE_SECONDS: Final = 60.0
LAST_SWEEP_SECONDS: Final = 4_500.0
"""The URLs of parts are valid for an hour."""


async def correct_times(session: AsyncSession, *, now: float) -> None:
    """Make sweeps due that wait longer than any does, and let erasures of the future be of now."""
    limit = now + SLACK_SECONDS
    is_future = ERASURES.c.erased_at > limit
    waits_too_long = and_(
        ERASURES.c.next_at > limit + LEASE_SECONDS,
        ERASURES.c.next_at > ERASURES.c.erased_at + LAST_SWEEP_SECONDS + SLACK_SECONDS,
    )
    erased_at = case((is_future, now), else_=ERASURES.c.erased_at)
    wrong = update(ERASURES).where(ERASURES.c.next_at.is_not(None), or_(is_future, waits_too_long))
    await session.execute(wrong.values(next_at=now, erased_at=erased_at))
