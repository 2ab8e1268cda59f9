"""Look at the queue every few seconds, and send waiting exports to those who watch them when their `queue` has changed.

Nothing is written to the database and no sequence rises: a client that drops such a state misses only the change.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from typing import NamedTuple, Self

from infra.database.base import Database
from service.dispatch.queue_board import QueueBoard
from service.fanout.hub import Hub
from service.fanout.publications import as_refresh, publication_of
from service.jobs import queries
from service.jobs.models import Job, Status
from service.jobs.queue.places import Place
from service.jobs.serializers import JobSerializer

LOOK_SECONDS = 2.0
MAX_SHARE = 0.02
"""How much of the time may be spent on looking: where a look takes long, there are fewer."""
UPDATE_SECONDS = 5.0
"""How often the watchers of an export hear of its place at most."""
MIN_SHIFT_SECONDS = 5.0
MIN_SHIFT_SHARE = 0.2
"""A start that is foreseen for another time is a change if it moves by more than both."""
ENCODE_BATCH = 25


class _Update(NamedTuple):
    """What the watchers of an export know of its place; times are on the monotonic clock."""

    sent_at: float
    place: Place
    outage_reason: str | None
    starts_at: float | None

    @classmethod
    def of(cls, place: Place, outage_reason: str | None, now: float) -> Self:
        """Return what is known of a place from now on."""
        is_known = place.seconds is not None and outage_reason is None
        return cls(now, place, outage_reason, now + (place.seconds or 0.0) if is_known else None)

    def needs(self, later: "_Update") -> bool:
        """Tell whether a client that counts the seconds down needs to hear of a later look, and may by now."""
        if later.sent_at - self.sent_at < UPDATE_SECONDS:
            return False
        same = (self.place.position, self.place.limit, self.outage_reason)
        if same != (later.place.position, later.place.limit, later.outage_reason):
            return True
        if self.starts_at is None or later.starts_at is None:
            return self.starts_at != later.starts_at
        left = max(0.0, later.starts_at - later.sent_at)
        shown = max(0.0, self.starts_at - later.sent_at)
        return abs(left - shown) > max(MIN_SHIFT_SECONDS, MIN_SHIFT_SHARE * left)


class QueueUpdates:
    """Sends each waiting export to its watchers when its place has changed, at most every UPDATE_SECONDS."""

    def __init__(self, database: Database, board: QueueBoard, hub: Hub, serializer: JobSerializer) -> None:
        self._database = database
        self._board = board
        self._hub = hub
        self._serializer = serializer
        self._sent: dict[str, _Update] = {}
        self._seen: dict[str, _Update] = {}  # at the last look, watched or not

    async def run(self) -> None:
        """Look at the queue until cancelled."""
        while True:
            began = time.monotonic()
            await self._board.refresh()
            await self.send_changes(began)
            await asyncio.sleep(max(LOOK_SECONDS, (time.monotonic() - began) / MAX_SHARE))

    async def send_changes(self, now: float) -> None:
        """Send what has changed since the last update to the watchers, by the monotonic clock."""
        held = {job.job_id: job for job in self._hub.list_pending()}
        outage_reason = self._board.outage_reason
        sent, due = {}, []
        for job_id, place in self._find_watched(held).items():
            update = _Update.of(place, outage_reason, now)
            # Who has just begun to watch it has the place of the last look, or an estimate.
            known = self._sent.get(job_id) or self._seen.get(job_id)
            is_due = known is None or known.needs(update)
            sent[job_id] = update if is_due or known is None else known
            due += [job_id] if is_due else []
        self._sent = sent
        self._seen = {
            job_id: _Update.of(place, outage_reason, now)._replace(sent_at=-math.inf)
            for job_id, place in self._board.places.by_job.items()
        }
        jobs = [held[job_id] for job_id in due if job_id in held]
        await self._send([*jobs, *await self._load([job_id for job_id in due if job_id not in held])])

    def _find_watched(self, held: Mapping[str, Job]) -> dict[str, Place]:
        """Return the places of the exports that have watchers, and of those whose user watches all."""
        places = self._board.places
        _, user_ids = self._hub.list_subscribed()
        watching = set(user_ids)
        of_users = {
            job_id: places.by_job[job_id]
            for job_id, user_id in places.user_ids.items()
            if user_id in watching
        }
        return of_users | {job_id: self._board.find_place(job) for job_id, job in held.items()}

    async def _load(self, job_ids: list[str]) -> list[Job]:
        """Load the exports of users who watch all of theirs; no more than the head of the queue holds."""
        if not job_ids:
            return []
        async with self._database.reading() as session:
            jobs = await queries.list_by_ids(session, job_ids)
        return [job for job in jobs if job.status is Status.PENDING]

    async def _send(self, jobs: list[Job]) -> None:
        for number, job in enumerate(jobs):
            if number % ENCODE_BATCH == 0:
                await asyncio.sleep(0)  # lets other requests run
            self._hub.refresh(as_refresh(publication_of(self._serializer, job)))
