"""Load the first states of a user's streams, once for all that open together.

Event ids of such a stream are positions: milliseconds since the epoch, before which every change has been delivered.
A client that reconnects with a position gets every export that has finished since, however many.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.sessions import DatabaseTasks, wait_for_task
from service.fanout.publications import Publication, as_edit, publication_of
from service.jobs import queries
from service.jobs.filters import EVERY_EXPORT, ExportFilter
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer

MAX_SNAPSHOT = 200
LOOK_BACK_SECONDS = 24 * 3_600
MARGIN_SECONDS = 60.0
"""Tolerance for changes that are timed before their commit, perhaps by the clock of another replica."""
POSITION_STEP_SECONDS = 60.0
"""Positions are rounded down, so that clients that reconnect at about the same time share one read."""
MAX_CONCURRENT_READS = 2
"""However many streams open, the other connections of the pool stay free for requests."""
ENCODE_BATCH = 25
MAX_POSITION_DIGITS = 15

PageCursor = tuple[float, str]
"""`completed_at` and job id of the last export of a page."""


@dataclass(frozen=True)
class InitialStates:
    """States to send first: active exports, then those that were edited, then finished ones."""

    snapshot: Sequence[Publication]
    rest: Sequence[Publication]
    cursor: PageCursor | None
    """Where the finished exports continue; None if `rest` holds the last of them."""
    read_at: float

    @property
    def position(self) -> float | None:
        """Return the position after the snapshot; None if more states follow."""
        return None if self.rest or self.cursor else self.read_at


def position_from(last_event_id: str, now: float) -> float | None:
    """Convert a `Last-Event-ID` to a time; None if it is invalid or too old."""
    if not last_event_id.isdecimal() or len(last_event_id) > MAX_POSITION_DIGITS:
        return None
    position = int(last_event_id) / 1000
    if not now - LOOK_BACK_SECONDS <= position <= now + MARGIN_SECONDS:
        return None
    return (position - MARGIN_SECONDS) // POSITION_STEP_SECONDS * POSITION_STEP_SECONDS


@dataclass(frozen=True)
class InitialStatesRequest:
    """What a stream begins with; streams that ask for the same share one read."""

    user_id: str
    since: float | None
    export_filter: ExportFilter

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what exports must meet: with a position also those that may have left the filter since."""
        return self.export_filter.residual_conditions(with_earlier=self.since is not None)

    def knows_end(self, job: Job) -> bool:
        """Tell whether the client knows the end of a job that was edited since."""
        return job.was_edited_after_end and (job.completed_at or 0.0) < (self.since or 0.0)


class InitialStatesReader:
    """Reader of initial states with a limit on concurrent reads."""

    def __init__(
        self, database: Database, view: JobSerializer, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._view = view
        self._clock = clock
        self._read_slots = asyncio.Semaphore(MAX_CONCURRENT_READS)
        self._tasks = DatabaseTasks()
        self._queued_reads: dict[InitialStatesRequest, asyncio.Task[InitialStates]] = {}

    async def read(
        self, user_id: str, since: float | None, export_filter: ExportFilter = EVERY_EXPORT
    ) -> InitialStates:
        """Return the initial states; subscribe before, so that no change is missed.

        With a position they include the exports that may have left the filter since.
        """
        request = InitialStatesRequest(user_id, since, export_filter)
        task = self._queued_reads.get(request)
        if task is None:
            task = self._queued_reads[request] = self._tasks.start(self._read(request))
        return await wait_for_task(task)

    async def read_rest(
        self, user_id: str, since: float, export_filter: ExportFilter, cursor: PageCursor | None
    ) -> AsyncIterator[tuple[Publication, float]]:
        """Yield the other finished exports, oldest first, each with the position after it."""
        request = InitialStatesRequest(user_id, since, export_filter)
        while cursor is not None:
            async with self._read_slots, self._database.reading() as session:
                jobs = await _load_page(session, request, cursor)
            cursor = _next_cursor(jobs)
            for job, publication in zip(jobs, await self._encode(jobs), strict=True):
                yield publication, job.completed_at or 0.0

    async def _read(self, request: InitialStatesRequest) -> InitialStates:
        async with self._read_slots:
            # Later callers need a read of their own: this one may miss what is committed from now on.
            del self._queued_reads[request]
            read_at = self._clock()
            jobs, cursor = await self._select(request, read_at)
        states = [
            as_edit(state) if request.knows_end(job) else state
            for job, state in zip(jobs, await self._encode(jobs), strict=True)
        ]
        return InitialStates(states[:MAX_SNAPSHOT], states[MAX_SNAPSHOT:], cursor, read_at)

    async def _select(self, request: InitialStatesRequest, now: float) -> tuple[list[Job], PageCursor | None]:
        """Load active exports, the latest finished ones, and all that finished since `since`.

        The clocks of replicas may differ or be set, so a client that reconnects gets the latest finished ones, too.
        """
        async with self._database.reading() as session:
            active = await queries.list_active(session, request.user_id, *request.conditions())
            finished = [] if request.since is None else await _load_page(session, request, None)
            edited = await _load_edited(session, request, now, without=[*active, *finished])
            room = max(0, MAX_SNAPSHOT - len(active) - len(edited) - len(finished))
            latest = await queries.list_latest_finished(
                session,
                request.user_id,
                *request.conditions(),
                since=now - LOOK_BACK_SECONDS,
                limit=MAX_SNAPSHOT if room else 0,
            )
        listed_ids = {job.job_id for job in (*edited, *finished)}
        others = [job for job in latest if job.job_id not in listed_ids]
        shown = others[len(others) - min(room, len(others)) :]
        return active + edited + shown + finished, _next_cursor(finished)

    async def _encode(self, jobs: Sequence[Job]) -> list[Publication]:
        publications = []
        for number, job in enumerate(jobs):
            if number % ENCODE_BATCH == 0:
                await asyncio.sleep(0)  # lets other requests run
            publications.append(publication_of(self._view, job))
        return publications


async def _load_page(
    session: AsyncSession, request: InitialStatesRequest, cursor: PageCursor | None
) -> list[Job]:
    return await queries.list_finished_since(
        session,
        request.user_id,
        *request.conditions(),
        since=request.since or 0.0,
        after=cursor,
        limit=MAX_SNAPSHOT,
    )


async def _load_edited(
    session: AsyncSession, request: InitialStatesRequest, now: float, without: Sequence[Job]
) -> list[Job]:
    """Load the jobs that were edited since the position, or lately without one; most have ended long ago."""
    jobs = await queries.list_edited(
        session,
        request.user_id,
        *request.conditions(),
        since=now - LOOK_BACK_SECONDS if request.since is None else request.since,
        limit=MAX_SNAPSHOT if request.since is None else queries.MAX_RECENT,
    )
    known_ids = {job.job_id for job in without}
    return [job for job in jobs if job.job_id not in known_ids]


def _next_cursor(page: Sequence[Job]) -> PageCursor | None:
    """Return the cursor of the next page; None after the last page."""
    if len(page) < MAX_SNAPSHOT:
        return None
    return page[-1].completed_at or 0.0, page[-1].job_id
