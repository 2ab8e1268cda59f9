"""Select the jobs to start next: of the user with the fewest running exports, then of the least served user.

Among one user's jobs the order is `queue_time`, which a priority shifts.

Service is the time for which a user's exports have had slots, plus a constant for each start. It is halved every few
minutes, so only the last hour matters. The database stores it for each user, so it counts for all replicas and
survives restarts. The cost of a claim grows with the number of waiting users and of slots in use; it depends neither
on the length of a queue nor on the number of finished jobs.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel

from infra.database.base import dialect_of
from service.jobs.queue.priorities import Priority

HALF_LIFE_SECONDS = 300.0
START_SECONDS = 10.0
"""What a start counts in addition to its time, so that users with short exports alternate too."""
NEGLIGIBLE_SECONDS = 1.0
"""Less service than this counts as none: otherwise new users could keep others waiting."""
FORGET_SECONDS = 30 * HALF_LIFE_SECONDS

_PENDING = "status IN ('pending', 'processing') AND status = 'pending'"
# BETWEEN, not =: where most users have few exports, planners take the index on the user for quick, and read the whole
# history of one who has many. For a range they take the partial index of active jobs, which has this order.
READY = f"""
SELECT {{columns}} FROM export_jobs
WHERE {_PENDING} AND user_id BETWEEN {{user}} AND {{user}} AND call_id IS NULL AND lease_until IS NULL
    AND not_before <= :now
ORDER BY user_id, queue_time, job_id LIMIT {{limit}}
"""  # noqa: S608 - made of constants, as are all of these
# Each step looks up the next user in the index, so a queue of thousands costs one step. Service is looked up as well: a
# planner that cannot know how few users wait may join by reading that of all users.
WAITING = text(f"""
WITH RECURSIVE waiting (user_id) AS (
    SELECT min(user_id) FROM export_jobs WHERE {_PENDING}
    UNION ALL
    SELECT (SELECT min(user_id) FROM export_jobs WHERE {_PENDING} AND user_id > waiting.user_id)
    FROM waiting WHERE waiting.user_id IS NOT NULL
)
SELECT waiting.user_id, next.job_id, next.queue_time, next.priority,
    (SELECT seconds FROM user_service AS service WHERE service.user_id = waiting.user_id) AS seconds,
    (SELECT at FROM user_service AS service WHERE service.user_id = waiting.user_id) AS at
FROM waiting
LEFT JOIN export_jobs AS next ON next.job_id = ({READY.format(columns="job_id", user="waiting.user_id", limit=1)})
WHERE waiting.user_id IS NOT NULL
""")  # noqa: S608
_READY_OF_USER = text(READY.format(columns="job_id, queue_time, priority", user=":user_id", limit=":limit"))
_SLOTS = text("""
SELECT place.job_id, place.user_id, place.since, job.completed_at,
    job.attempt = place.attempt AND job.status IN ('pending', 'processing') AS is_running
FROM occupied_places AS place LEFT JOIN export_jobs AS job ON job.job_id = place.job_id
""")
_DELETE_SLOTS = text("DELETE FROM occupied_places WHERE job_id IN :job_ids").bindparams(
    bindparam("job_ids", expanding=True)
)
_SELECT_SERVICE = text("SELECT user_id, seconds, at FROM user_service WHERE user_id IN :user_ids").bindparams(
    bindparam("user_ids", expanding=True)
)
_SET_SERVICE = text("""
INSERT INTO user_service (user_id, seconds, at) VALUES (:user_id, :seconds, :at)
ON CONFLICT (user_id) DO UPDATE SET seconds = excluded.seconds, at = excluded.at
""")
_DELETE_OLD = text("DELETE FROM user_service WHERE at < :before")
_INSERT_SLOT = text("""
INSERT INTO occupied_places (job_id, attempt, user_id, since) VALUES (:job_id, :attempt, :user_id, :since)
ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, since = excluded.since
""")
_LOCK_KEY = "framehook claims"


class UserService(SQLModel, table=True):
    """Service in seconds that a user's exports had received by the time `at`."""

    __tablename__ = "user_service"

    user_id: str = Field(primary_key=True)
    seconds: float
    at: float = Field(index=True)


class OccupiedPlace(SQLModel, table=True):
    """An attempt that has a slot, and since when; a claim after its end charges its user."""

    __tablename__ = "occupied_places"

    job_id: str = Field(primary_key=True)
    attempt: int
    user_id: str
    since: float


@dataclass
class Share:
    """What a user has: slots in use, and recent service in seconds."""

    slots: int = 0
    seconds: float = 0.0


class ReadyJob(NamedTuple):
    """A job that may start, and how long its run will take as far as that is known."""

    job_id: str
    queue_time: float
    priority: str
    forecast_seconds: float | None = None


class Turn(NamedTuple):
    """A user's next job; the least one starts first. `weight` is the service in seconds, shifted by the priority."""

    slots: int
    weight: float
    queue_time: float
    job_id: str
    user_id: str
    seconds: float

    @classmethod
    def of(cls, job: ReadyJob, user_id: str, slots: int, seconds: float, priority_seconds: float) -> Self:
        weight = seconds - Priority(job.priority).sign * priority_seconds
        return cls(slots, weight, job.queue_time, job.job_id, user_id, seconds)


def decay(seconds: float, age: float) -> float:
    """Return what is left of some service after `age` seconds; a negative age counts as zero."""
    return seconds * math.exp2(-max(age, 0.0) / HALF_LIFE_SECONDS)


def compute_service(held_seconds: float) -> float:
    """Return the service of an export that has had a slot for so long, with its decay."""
    most = HALF_LIFE_SECONDS / math.log(2)
    return START_SECONDS + most - decay(most, held_seconds)


async def select_jobs(
    session: AsyncSession, *, slots: int, per_user: int, priority_seconds: float = 0.0, now: float
) -> list[str]:
    """Return the jobs to start next: at most `slots`, and at most `per_user` running per user.

    Between users with equally many running exports, one of high priority counts as if its user had received
    `priority_seconds` less service, one of low priority as if so much more.
    """
    # Replicas claim one after the other, so that each sees the slots that the others have given.
    await dialect_of(session).lock(session, _LOCK_KEY)
    shares = await _release_slots(session, now)
    queue = []
    for user_id, job_id, queue_time, priority, seconds, at in await session.execute(WAITING, {"now": now}):
        share = shares[user_id]
        received = share.seconds + decay(seconds or 0.0, now - (at or now))
        share.seconds = received if received >= NEGLIGIBLE_SECONDS else 0.0
        if job_id is not None and share.slots < per_user:
            job = ReadyJob(job_id, queue_time, priority)
            queue.append(Turn.of(job, user_id, share.slots, share.seconds, priority_seconds))
    return await _alternate(
        session, queue, slots=slots, per_user=per_user, priority_seconds=priority_seconds, now=now
    )


async def record_starts(session: AsyncSession, jobs: Sequence[tuple[str, int, str]], *, now: float) -> None:
    """Store that these attempts have slots from now on: job, attempt and user of each."""
    if jobs:
        rows = [
            {"job_id": job_id, "attempt": attempt, "user_id": user_id, "since": now}
            for job_id, attempt, user_id in jobs
        ]
        await session.execute(_INSERT_SLOT, rows)


async def _alternate(
    session: AsyncSession,
    queue: list[Turn],
    *,
    slots: int,
    per_user: int,
    priority_seconds: float,
    now: float,
) -> list[str]:
    """Give each slot to the user who has least at that point."""
    ready: dict[str, list[ReadyJob]] = {}
    selected: list[str] = []
    heapq.heapify(queue)
    while queue and len(selected) < slots:
        turn = heapq.heappop(queue)
        user_id = turn.user_id
        if user_id not in ready:
            limit = min(slots - len(selected), per_user - turn.slots)
            values = {"user_id": user_id, "now": now, "limit": limit}
            ready[user_id] = [ReadyJob(*row) for row in await session.execute(_READY_OF_USER, values)]
        selected.append(ready[user_id].pop(0).job_id)
        if ready[user_id]:
            job, seconds = ready[user_id][0], turn.seconds + START_SECONDS
            heapq.heappush(queue, Turn.of(job, user_id, turn.slots + 1, seconds, priority_seconds))
    return selected


async def _release_slots(session: AsyncSession, now: float) -> Mapping[str, Share]:
    """Charge users for the attempts that have ended; return the share of each user."""
    shares: dict[str, Share] = defaultdict(Share)
    charges: dict[str, float] = defaultdict(float)
    released = []
    for job_id, user_id, since, completed_at, is_running in await session.execute(_SLOTS):
        if is_running:
            shares[user_id].slots += 1
            shares[user_id].seconds += compute_service(now - since)
        else:
            until = now if completed_at is None else min(completed_at, now)
            charges[user_id] += decay(compute_service(until - since), now - until)
            released.append(job_id)
    if released:
        await session.execute(_DELETE_SLOTS, {"job_ids": released})
        await _charge(session, charges, now)
    return shares


async def _charge(session: AsyncSession, charges: Mapping[str, float], now: float) -> None:
    """Add service in seconds to users, and delete what has decayed."""
    received = await session.execute(_SELECT_SERVICE, {"user_ids": list(charges)})
    before = {user_id: decay(seconds, now - at) for user_id, seconds, at in received}
    rows = [
        {"user_id": user_id, "seconds": before.get(user_id, 0.0) + seconds, "at": now}
        for user_id, seconds in charges.items()
    ]
    await session.execute(_SET_SERVICE, rows)
    await session.execute(_DELETE_OLD, {"before": now - FORGET_SECONDS})
