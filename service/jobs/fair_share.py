"""Whose turn it is: the user with the fewest exports at work, and among those the one who was served least lately.

Service is the time for which a user's exports have held places, and a constant for each start. What was received is
halved every few minutes, so that only the last hour matters. It is kept for each user in the database, hence for all
replicas and over restarts. What a claim costs grows with the users who wait and the places that are held, and neither
with the length of anybody's queue nor with what has finished.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import dialect_of

HALF_LIFE_SECONDS = 300.0
START_SECONDS = 10.0
"""What a start counts beside the time that it takes, so that short exports take turns as well."""
NEGLIGIBLE_SECONDS = 1.0
"""Who has received less than this counts as new: else users who come for the first time could keep others out."""
FORGET_SECONDS = 30 * HALF_LIFE_SECONDS

_PENDING = "status IN ('pending', 'processing') AND status = 'pending'"
_READY = f"""
SELECT job_id FROM export_jobs
WHERE {_PENDING} AND user_id = {{user}} AND call_id IS NULL AND lease_until IS NULL AND not_before <= :now
ORDER BY job_id LIMIT {{limit}}
"""  # noqa: S608 - made of constants, as are all of these
# Each step looks up the next user in the index: a queue of thousands is one step.
_WAITING = text(f"""
WITH RECURSIVE waiting (user_id) AS (
    SELECT min(user_id) FROM export_jobs WHERE {_PENDING}
    UNION ALL
    SELECT (SELECT min(user_id) FROM export_jobs WHERE {_PENDING} AND user_id > waiting.user_id)
    FROM waiting WHERE waiting.user_id IS NOT NULL
)
SELECT waiting.user_id, ({_READY.format(user="waiting.user_id", limit=1)}) AS job_id, service.seconds, service.at
FROM waiting LEFT JOIN user_service AS service ON service.user_id = waiting.user_id
WHERE waiting.user_id IS NOT NULL
""")  # noqa: S608
_READY_OF_USER = text(_READY.format(user=":user_id", limit=":limit"))
_PLACES = text("""
SELECT place.job_id, place.user_id, place.since, job.completed_at,
    job.attempt = place.attempt AND job.status IN ('pending', 'processing') AS held
FROM occupied_places AS place LEFT JOIN export_jobs AS job ON job.job_id = place.job_id
""")
_RELEASE = text("DELETE FROM occupied_places WHERE job_id IN :job_ids").bindparams(
    bindparam("job_ids", expanding=True)
)
_RECEIVED = text("SELECT user_id, seconds, at FROM user_service WHERE user_id IN :user_ids").bindparams(
    bindparam("user_ids", expanding=True)
)
_CHARGE = text("""
INSERT INTO user_service (user_id, seconds, at) VALUES (:user_id, :seconds, :at)
ON CONFLICT (user_id) DO UPDATE SET seconds = excluded.seconds, at = excluded.at
""")
_FORGET = text("DELETE FROM user_service WHERE at < :before")
_OCCUPY = text("""
INSERT INTO occupied_places (job_id, attempt, user_id, since) VALUES (:job_id, :attempt, :user_id, :since)
ON CONFLICT (job_id) DO UPDATE SET attempt = excluded.attempt, since = excluded.since
""")
_LOCK_KEY = "framehook claims"


@dataclass
class Share:
    """What one user has been given: the places that are held now, and the service that was received lately."""

    places: int = 0
    seconds: float = 0.0


def decay(seconds: float, age: float) -> float:
    """Return what is left of some service after `age` seconds; a clock that went back takes nothing away."""
    return seconds * math.exp2(-max(age, 0.0) / HALF_LIFE_SECONDS)


def compute_service(held_seconds: float) -> float:
    """Return the service of an export that has held a place for so long until now, its earlier part decayed."""
    most = HALF_LIFE_SECONDS / math.log(2)
    return START_SECONDS + most - decay(most, held_seconds)


async def select_jobs(session: AsyncSession, *, places: int, per_user: int, now: float) -> list[str]:
    """Return the jobs to start next, at most so many, and at most `per_user` of a user at work together."""
    # A replica has to see the slots that another one has just given away.
    await dialect_of(session).lock(session, _LOCK_KEY)
    shares = await _settle(session, now)
    line = []
    for user_id, job_id, seconds, at in await session.execute(_WAITING, {"now": now}):
        share = shares[user_id]
        received = share.seconds + decay(seconds or 0.0, now - (at or now))
        share.seconds = received if received >= NEGLIGIBLE_SECONDS else 0.0
        if job_id is not None and share.places < per_user:
            line.append((share.places, share.seconds, job_id, user_id))
    return await _take_turns(session, line, places, per_user, now)


async def record_starts(session: AsyncSession, jobs: Sequence[tuple[str, int, str]], *, now: float) -> None:
    """Write down that these attempts hold places from now on: job, attempt and user of each."""
    if jobs:
        rows = [
            {"job_id": job_id, "attempt": attempt, "user_id": user_id, "since": now}
            for job_id, attempt, user_id in jobs
        ]
        await session.execute(_OCCUPY, rows)


async def _take_turns(
    session: AsyncSession, line: list[tuple[int, float, str, str]], places: int, per_user: int, now: float
) -> list[str]:
    """Give each place to whoever has been given least by then."""
    ready: dict[str, list[str]] = {}
    chosen: list[str] = []
    heapq.heapify(line)
    while line and len(chosen) < places:
        held, seconds, _, user_id = heapq.heappop(line)
        if user_id not in ready:
            limit = min(places - len(chosen), per_user - held)
            values = {"user_id": user_id, "now": now, "limit": limit}
            ready[user_id] = [row[0] for row in await session.execute(_READY_OF_USER, values)]
        chosen.append(ready[user_id].pop(0))
        if ready[user_id]:
            heapq.heappush(line, (held + 1, seconds + START_SECONDS, ready[user_id][0], user_id))
    return chosen


async def _settle(session: AsyncSession, now: float) -> Mapping[str, Share]:
    """Charge users for the places that were given up since; return what they hold, with its service until now."""
    shares: dict[str, Share] = defaultdict(Share)
    charges: dict[str, float] = defaultdict(float)
    released = []
    for job_id, user_id, since, completed_at, held in await session.execute(_PLACES):
        if held:
            shares[user_id].places += 1
            shares[user_id].seconds += compute_service(now - since)
        else:
            until = now if completed_at is None else min(completed_at, now)
            charges[user_id] += decay(compute_service(until - since), now - until)
            released.append(job_id)
    if released:
        await session.execute(_RELEASE, {"job_ids": released})
        await _charge(session, charges, now)
    return shares


async def _charge(session: AsyncSession, charges: Mapping[str, float], now: float) -> None:
    received = await session.execute(_RECEIVED, {"user_ids": list(charges)})
    before = {user_id: decay(seconds, now - at) for user_id, seconds, at in received}
    rows = [
        {"user_id": user_id, "seconds": before.get(user_id, 0.0) + seconds, "at": now}
        for user_id, seconds in charges.items()
    ]
    await session.execute(_CHARGE, rows)
    await session.execute(_FORGET, {"before": now - FORGET_SECONDS})
