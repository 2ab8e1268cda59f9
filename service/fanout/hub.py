"""Fan-out in memory: every subscriber holds at most one undelivered state per export, the newest."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from callbacks.envelope import EventType
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer


class NoticeType(StrEnum):
    """What a user is told on the stream of all their exports that is no state of an export."""

    WEBHOOK_DISABLED = "webhook.disabled"


@dataclass(frozen=True)
class Publication:
    """A committed state of a job, ready to send: `body` is the job as JSON.

    A notice is one as well: with the id of what it tells of for a job's.
    """

    job_id: str
    user_id: str
    sequence: int
    type: EventType | NoticeType
    body: bytes

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return isinstance(self.type, EventType) and self.type.is_terminal


def publication_of(view: JobSerializer, job: Job) -> Publication:
    """Encode a job's state once, for all its subscribers."""
    return Publication(job.job_id, job.user_id, job.sequence, job.event_type, view.to_json(job))


class HubClosed(Exception):
    """The hub has closed: the reader should come back, here or elsewhere."""


class Subscriber:
    """One open stream. `offer` never waits; `next` gives what is newest, export by export."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.caught_up_at = clock()
        """Whatever was published before this moment has been delivered."""
        self._latest: dict[str, Publication] = {}
        self._sent: dict[str, int] = {}
        self._ready = asyncio.Event()
        self._closed = False

    def offer(self, publication: Publication) -> None:
        """Keep the state if it is newer than what is held or was delivered."""
        held = self._latest.get(publication.job_id)
        newest = max(held.sequence if held else 0, self._sent.get(publication.job_id, 0))
        if publication.sequence > newest:
            if not self._latest:
                self.caught_up_at = self._clock()
            self._latest[publication.job_id] = publication
            self._ready.set()

    def mark_delivered(self, publication: Publication) -> bool:
        """Note a state that is delivered in another way, and drop what is not newer; whether it is news itself."""
        job_id, sequence = publication.job_id, publication.sequence
        if sequence <= self._sent.get(job_id, 0):
            return False
        self._sent[job_id] = sequence
        held = self._latest.get(job_id)
        if held is not None and held.sequence <= sequence:
            del self._latest[job_id]
        return True

    async def next(self) -> Publication:
        """The next undelivered state, in order of arrival of its export; raises HubClosed after the last."""
        while not self._latest:
            if self._closed:
                raise HubClosed
            self._ready.clear()
            await self._ready.wait()
        publication = self._latest.pop(next(iter(self._latest)))
        self._sent[publication.job_id] = publication.sequence
        return publication

    def close(self) -> None:
        self._closed = True
        self._ready.set()


class Hub:
    """Who listens to what: one export, or all of a user's."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[Subscriber]] = {}
        self._by_user: dict[str, set[Subscriber]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(len(found) for index in (self._by_job, self._by_user) for found in index.values())

    def subscribe(
        self,
        *,
        job_id: str | None = None,
        user_id: str | None = None,
        subscriber: Subscriber | None = None,
    ) -> Subscriber:
        """A subscriber to an export, or to a user's exports: a new one unless it is given."""
        subscriber = subscriber or Subscriber()
        if self._closed:
            subscriber.close()
        index, key = self._index_for(job_id, user_id)
        index.setdefault(key, set()).add(subscriber)
        return subscriber

    def unsubscribe(
        self, subscriber: Subscriber, *, job_id: str | None = None, user_id: str | None = None
    ) -> None:
        index, key = self._index_for(job_id, user_id)
        found = index.get(key, set())
        found.discard(subscriber)
        if not found:
            index.pop(key, None)

    def publish(self, publication: Publication) -> None:
        """Offer a committed state to all whom it concerns."""
        for subscriber in self._by_job.get(publication.job_id, ()):
            subscriber.offer(publication)
        for subscriber in self._by_user.get(publication.user_id, ()):
            subscriber.offer(publication)

    def has_subscribers(self, job_id: str, user_id: str) -> bool:
        """Whether anybody here listens to the job; if not, its state need not even be encoded."""
        return job_id in self._by_job or user_id in self._by_user

    def subscribed_ids(self) -> tuple[list[str], list[str]]:
        """The jobs and the users that somebody here listens to."""
        return list(self._by_job), list(self._by_user)

    def close(self) -> None:
        """End every stream cleanly, those to come as well."""
        self._closed = True
        for subscriber in self._all():
            subscriber.close()

    def _all(self) -> Iterable[Subscriber]:
        return [one for index in (self._by_job, self._by_user) for found in index.values() for one in found]

    def _index_for(self, job_id: str | None, user_id: str | None) -> tuple[dict[str, set[Subscriber]], str]:
        if job_id is not None:
            return self._by_job, job_id
        assert user_id is not None
        return self._by_user, user_id
