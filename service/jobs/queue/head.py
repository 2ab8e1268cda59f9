"""Read the head of the queue: what has slots and what a claim would start next, without a lock or a change.

The cost grows with the number of waiting users and of slots in use, as that of a claim does; it depends neither on the
length of a queue nor on the number of finished jobs.
"""

from collections import defaultdict
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from service.forecast.remaining import measure_run, measure_silence
from service.jobs.models import JOBS, Status
from service.jobs.queue.fair_share import (
    NEGLIGIBLE_SECONDS,
    READY,
    WAITING,
    ReadyJob,
    Share,
    Turn,
    compute_service,
    decay,
)

HEAD_JOBS = 200
"""How many of the next starts are foreseen."""
MIN_JOBS_PER_USER = 5
RECENT_JOBS = 100
"""How many of the newest exports are looked at for the usual duration of a run."""

_READY_OF_USER = text(
    READY.format(columns="job_id, queue_time, priority, forecast_seconds", user=":user_id", limit=":limit")
)
_SLOTS = text("""
SELECT place.job_id, place.user_id, place.since, job.completed_at, job.status,
    job.attempt = place.attempt AND job.status IN ('pending', 'processing') AS is_running,
    job.started_at, job.spawned_at, job.heartbeat_at, job.eta_seconds, job.forecast_seconds,
    job.gpu_seconds, job.gpu_seconds_before
FROM occupied_places AS place LEFT JOIN export_jobs AS job ON job.job_id = place.job_id
""")


class Slot(NamedTuple):
    """An attempt that has been claimed and has not ended.

    `forecast_seconds` is how long its run will take, `left_seconds` what the run itself expects; None if unknown.
    """

    job_id: str
    user_id: str
    is_started: bool
    since: float
    spawned_at: float | None
    started_at: float | None
    left_seconds: float | None
    forecast_seconds: float | None = None


class WaitingUser(NamedTuple):
    """A user, what it has, and its first jobs that may start."""

    user_id: str
    share: Share
    ready: tuple[ReadyJob, ...]


@dataclass(frozen=True)
class QueueHead:
    """What has slots and who waits at a time; `run_seconds` is how long the latest runs took on average."""

    at: float
    slots: tuple[Slot, ...] = ()
    users: tuple[WaitingUser, ...] = ()
    run_seconds: float | None = None


async def read_head(session: AsyncSession, *, priority_seconds: float, now: float) -> QueueHead:
    """Read what a claim would see now, with the first HEAD_JOBS jobs that it would start."""
    slots, shares = await _read_slots(session, now)
    turns = []
    for user_id, job_id, queue_time, priority, seconds, at in await session.execute(WAITING, {"now": now}):
        share = shares[user_id]
        received = share.seconds + decay(seconds or 0.0, now - (at or now))
        share.seconds = received if received >= NEGLIGIBLE_SECONDS else 0.0
        if job_id is not None:
            job = ReadyJob(job_id, queue_time, priority)
            turns.append(Turn.of(job, user_id, share.slots, share.seconds, priority_seconds))
    users = [turn.user_id for turn in nsmallest(HEAD_JOBS, turns)]
    limit = max(MIN_JOBS_PER_USER, 4 * HEAD_JOBS // max(len(users), 1))
    waiting = []
    for user_id in users:
        values = {"user_id": user_id, "now": now, "limit": min(limit, HEAD_JOBS)}
        rows = await session.execute(_READY_OF_USER, values)
        waiting.append(WaitingUser(user_id, shares[user_id], tuple(ReadyJob(*row) for row in rows)))
    return QueueHead(now, tuple(slots), tuple(waiting), await _read_run_seconds(session))


async def _read_slots(session: AsyncSession, now: float) -> tuple[list[Slot], dict[str, Share]]:
    """Return the attempts that have slots, and each user's share, which the next claim may still have to store."""
    slots, shares = [], defaultdict[str, Share](Share)
    for row in await session.execute(_SLOTS):
        share = shares[row.user_id]
        if not row.is_running:
            until = now if row.completed_at is None else min(row.completed_at, now)
            share.seconds += decay(compute_service(until - row.since), now - until)
            continue
        share.slots += 1
        share.seconds += compute_service(now - row.since)
        is_started = row.status == Status.PROCESSING
        times = (row.since, row.spawned_at, *_find_progress(row, now), row.forecast_seconds)
        slots.append(Slot(row.job_id, row.user_id, is_started, *times))
    return slots, shares


def _find_progress(row: Any, now: float) -> tuple[float | None, float | None]:
    """Return when a run has started, and how many seconds are left by its own measure, both by the clock of `now`."""
    if row.started_at is None or row.heartbeat_at is None:
        return row.started_at, None
    silence = measure_silence(row.heartbeat_at, now)
    worked = measure_run(row.started_at, row.heartbeat_at, row.gpu_seconds - row.gpu_seconds_before)
    left = None if row.eta_seconds is None else max(0.0, row.eta_seconds - silence)
    return now - worked - silence, left


async def _read_run_seconds(session: AsyncSession) -> float | None:
    """Return how long the runs of the newest complete exports took on average; None without any."""
    newest = select(JOBS.c.status, (JOBS.c.completed_at - JOBS.c.started_at).label("seconds"))
    recent = newest.order_by(JOBS.c.job_id.desc()).limit(RECENT_JOBS).subquery()
    query = select(func.avg(recent.c.seconds)).where(recent.c.status == Status.COMPLETE)
    seconds: float | None = (await session.execute(query)).scalar_one()
    return seconds
