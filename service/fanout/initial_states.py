"""What a stream of all a user's exports begins with: read and encoded once for all who ask at the same time.

Such a stream's event ids are positions: milliseconds since the epoch, before which every change has been delivered.
A reader who comes back with one is given all that has finished since, however much that is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.postgresql import Database
from infra.database.sessions import DatabaseTasks, wait_for_task
from service.fanout.hub import Publication, publication_of
from service.jobs import queries
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer

MAX_SNAPSHOT = 200
LOOK_BACK_SECONDS = 24 * 3_600
MARGIN_SECONDS = 60.0
"""A change's time is taken before its commit, perhaps by another replica's clock."""
ROUNDED_TO_SECONDS = 60.0
"""Readers who come back at about the same time share one read."""
READS_AT_ONCE = 2
"""However many streams open, the other connections of the pool are others'."""
ENCODED_AT_ONCE = 25
MAX_DIGITS = 15

After = tuple[float, str]


@dataclass(frozen=True)
class InitialStates:
    """The present states: what is active first, then what has finished."""

    snapshot: Sequence[Publication]
    rest: Sequence[Publication]
    after: After | None
    """There is more that has finished: what follows this one."""
    read_at: float

    @property
    def position(self) -> float | None:
        """What the reader of the snapshot has reached; None if more follows."""
        return None if self.rest or self.after else self.read_at


def position_from(last_event_id: str, now: float) -> float | None:
    """Since when a reader wants to know of changes; None if its last event id does not say so, or is too old."""
    if not last_event_id.isdecimal() or len(last_event_id) > MAX_DIGITS:
        return None
    position = int(last_event_id) / 1000
    if not now - LOOK_BACK_SECONDS <= position <= now + MARGIN_SECONDS:
        return None
    return (position - MARGIN_SECONDS) // ROUNDED_TO_SECONDS * ROUNDED_TO_SECONDS


class InitialStatesReader:
    """Reads opening states, a few at a time."""

    def __init__(self, database: Database, view: JobSerializer) -> None:
        self._database = database
        self._view = view
        self._turns = asyncio.Semaphore(READS_AT_ONCE)
        self._tasks = DatabaseTasks()
        self._not_begun: dict[tuple[str, float | None], asyncio.Task[InitialStates]] = {}

    async def read(self, user_id: str, since: float | None) -> InitialStates:
        """What a stream begins with that is subscribed to the user's changes already."""
        key = (user_id, since)
        task = self._not_begun.get(key)
        if task is None:
            task = self._not_begun[key] = self._tasks.start(self._read(user_id, since))
        return await wait_for_task(task)

    async def read_rest(
        self, user_id: str, since: float, after: After | None
    ) -> AsyncIterator[tuple[Publication, float]]:
        """What else has finished, in the order in which it did, each with the position that is reached with it."""
        while after is not None:
            async with self._turns, self._database.reading() as session:
                jobs = await self._page(session, user_id, since, after)
            after = _last(jobs)
            for job, publication in zip(jobs, await self._encode(jobs), strict=True):
                yield publication, job.completed_at or 0.0

    async def _read(self, user_id: str, since: float | None) -> InitialStates:
        async with self._turns:
            del self._not_begun[user_id, since]  # a change from now on may be missing from what is read
            read_at = time.time()
            jobs, after = await self._select(user_id, since, read_at)
        states = await self._encode(jobs)
        return InitialStates(states[:MAX_SNAPSHOT], states[MAX_SNAPSHOT:], after, read_at)

    async def _select(self, user_id: str, since: float | None, now: float) -> tuple[list[Job], After | None]:
        """What is active, then the newest of what has finished lately, and all that has finished since.

        Replicas' clocks may differ, and be set: what has finished lately is told to who comes back as well.
        """
        async with self._database.reading() as session:
            active = await queries.list_active(session, user_id)
            finished = [] if since is None else await self._page(session, user_id, since, None)
            room = max(0, MAX_SNAPSHOT - len(active) - len(finished))
            lately = await queries.list_latest_finished(
                session, user_id, since=now - LOOK_BACK_SECONDS, limit=MAX_SNAPSHOT if room else 0
            )
        known = {job.job_id for job in finished}
        others = [job for job in lately if job.job_id not in known]
        return active + others[len(others) - min(room, len(others)) :] + finished, _last(finished)

    async def _page(
        self, session: AsyncSession, user_id: str, since: float, after: After | None
    ) -> list[Job]:
        return await queries.list_finished_since(
            session, user_id, since=since, after=after, limit=MAX_SNAPSHOT
        )

    async def _encode(self, jobs: Sequence[Job]) -> list[Publication]:
        publications = []
        for number, job in enumerate(jobs):
            if number % ENCODED_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have requests that wait
            publications.append(publication_of(self._view, job))
        return publications


def _last(page: Sequence[Job]) -> After | None:
    """Where the next page begins; None if this one was the last."""
    if len(page) < MAX_SNAPSHOT:
        return None
    return page[-1].completed_at or 0.0, page[-1].job_id
