"""What operators ask of all jobs: how many wait and since when, and what each day brought."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from service.clock import Clock
from service.jobs.ids import first_id
from service.jobs.models import IS_ACTIVE, JOBS, Status

DAYS = 14
CACHE_SECONDS = 60.0


@dataclass(frozen=True)
class Queue:
    """How many exports wait and run; `oldest_at` is when the oldest that waits was submitted."""

    pending: int
    processing: int
    oldest_at: float | None


@dataclass(frozen=True)
class Day:
    """The exports that were submitted on a day (UTC, as `2026-11-30`)."""

    day: str
    exports: int
    failed: int
    gpu_seconds: float
    cost_usd: float | None


async def read_queue(session: AsyncSession) -> Queue:
    """Count the active exports of all users."""
    columns = (JOBS.c.status, func.count(), func.min(JOBS.c.created_at))
    query = select(*columns).where(IS_ACTIVE).group_by(JOBS.c.status)
    rows = {status: (count, oldest) for status, count, oldest in await session.execute(query)}
    pending, oldest_at = rows.get(Status.PENDING, (0, None))
    processing, _ = rows.get(Status.PROCESSING, (0, None))
    return Queue(pending, processing, oldest_at)


class ExportState(StrEnum):
    """What an active export does; `delayed` until the time it is scheduled for, or the pause after a lost attempt."""

    DELAYED = "delayed"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"


@dataclass(frozen=True)
class ActiveExports:
    """The active exports of all users of a kind; `since` is when the oldest was created, or retried."""

    state: ExportState
    type: str
    runner: str
    count: int
    since: float


async def count_active(session: AsyncSession, *, now: float) -> list[ActiveExports]:
    """Count the active exports by state, type and runner; the index holds only these."""
    is_starting = or_(JOBS.c.call_id.is_not(None), JOBS.c.lease_until.is_not(None))
    state = case(
        (JOBS.c.status == Status.PROCESSING, ExportState.RUNNING.value),
        (is_starting, ExportState.STARTING.value),
        (JOBS.c.not_before > now, ExportState.DELAYED.value),
        else_=ExportState.WAITING.value,
    ).label("state")
    columns = (state, JOBS.c.type, JOBS.c.runner)
    query = select(*columns, func.count(), func.min(JOBS.c.limits_since)).where(IS_ACTIVE)
    rows = await session.execute(query.group_by(state, JOBS.c.type, JOBS.c.runner))
    return [ActiveExports(ExportState(row[0]), *row[1:]) for row in rows]


async def read_days(session: AsyncSession, *, now: float, count: int = DAYS) -> list[Day]:
    """Return the last days up to today, oldest first; each is a range of the primary key."""
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=age) for age in range(count - 1, -1, -1)]
    return [await _read_day(session, start) for start in starts]


async def _read_day(session: AsyncSession, start: datetime) -> Day:
    end = start + timedelta(days=1)
    failed = func.sum(case((JOBS.c.status == Status.ERROR, 1), else_=0))
    query = select(func.count(), failed, func.sum(JOBS.c.gpu_seconds), func.sum(JOBS.c.cost_usd)).where(
        JOBS.c.job_id >= first_id(start.timestamp()), JOBS.c.job_id < first_id(end.timestamp())
    )
    exports, failures, gpu_seconds, cost_usd = (await session.execute(query)).one()
    cost = 0.0 if not exports else cost_usd  # null if none of them has a known price
    rounded = None if cost is None else round(cost, 6)
    return Day(start.date().isoformat(), exports, failures or 0, round(gpu_seconds or 0.0, 3), rounded)


class DayCache:
    """The days of all users, read again after a minute."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._days: list[Day] = []
        self._read_at = float("-inf")

    async def load(self) -> list[Day]:
        """Return the last days, oldest first."""
        now = self._clock.monotonic()
        if now - self._read_at > CACHE_SECONDS:
            async with self._database.reading() as session:
                self._days = await read_days(session, now=self._clock.wall())
            self._read_at = now
        return self._days
