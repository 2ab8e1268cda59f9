"""Publish job states to subscribers in memory.

Each subscriber holds only the newest undelivered state per export.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import replace as replace_field
from enum import StrEnum
from itertools import chain

from msgspec.structs import replace

from callbacks.envelope import EventType
from service.jobs.filters import EVERY_EXPORT, ExportFilter
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer

_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
"""U+0085, U+2028 and U+2029, which many clients take for the end of a line (Python's `str.splitlines`)."""


class NoticeType(StrEnum):
    """Type of a message on a user's stream that is not a state of an export."""

    WEBHOOK_DISABLED = "webhook.disabled"
    EXPORT_ERASED = "export.erased"


@dataclass(frozen=True)
class Publication:
    """A committed job state to send, with the job as JSON in `body`.

    A notice is a Publication, too; its `job_id` is the id of the object that it is about, and it has no `job`.
    """

    job_id: str
    user_id: str
    sequence: int
    type: EventType | NoticeType
    body: bytes
    job: Job | None = None

    @property
    def terminal(self) -> bool:
        """Tell whether the job has ended or is erased."""
        if self.job is None:
            return self.type is NoticeType.EXPORT_ERASED
        return self.job.status.is_final


def publication_of(view: JobSerializer, job: Job) -> Publication:
    """Encode a job's state once for all its subscribers.

    A config may be large, and no subscriber needs it.
    """
    body = _LINE_ENDS.sub(_escape, view.to_json(job))
    return Publication(job.job_id, job.user_id, job.sequence, job.event_type, body, replace(job, config=""))


def as_edit(publication: Publication) -> Publication:
    """Return the state of an ended job as a change for a client that knows the end: no second end."""
    return replace_field(publication, type=EventType.PROGRESS)


def _escape(line_end: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(line_end[0].decode())


class HubClosed(Exception):
    """The hub is closed; the client should reconnect to any replica."""


class Subscriber:
    """One open stream; `offer` never waits, `next` waits for the next undelivered state.

    What has ended before `ends_since` and was never delivered is edited when it comes, and has not ended just now.
    """

    def __init__(
        self,
        export_filter: ExportFilter = EVERY_EXPORT,
        clock: Callable[[], float] = time.time,
        *,
        ends_since: float = 0.0,
    ) -> None:
        self._filter = export_filter
        self._clock = clock
        self._ends_since = ends_since
        self.caught_up_at = clock()
        """Everything published before this time has been delivered."""
        self._pending: dict[str, Publication] = {}
        self._passed: dict[
            str, int
        ] = {}  # the newest sequence of each export that was delivered or filtered out
        self._matching: set[str] = set()  # the exports of which the client has a state that matches
        self._ready = asyncio.Event()
        self._closed = False

    def offer(self, publication: Publication) -> None:
        """Keep the state if it is newer than the pending and the delivered one."""
        pending = self._pending.get(publication.job_id)
        newest = max(pending.sequence if pending else 0, self._passed.get(publication.job_id, 0))
        if publication.sequence > newest:
            if not self._pending:
                self.caught_up_at = self._clock()
            self._pending[publication.job_id] = publication
            self._ready.set()

    def mark_delivered(self, publication: Publication) -> bool:
        """Record a state that was delivered in another way; return whether it was new."""
        job_id, sequence = publication.job_id, publication.sequence
        if sequence <= self._passed.get(job_id, 0):
            return False
        self._record(publication)
        pending = self._pending.get(job_id)
        if pending is not None and pending.sequence <= sequence:
            del self._pending[job_id]
        return True

    async def next(self) -> Publication:
        """Return the next undelivered state that the filter shows, in order of arrival of its export.

        Raises HubClosed after the last one.
        """
        while True:
            while not self._pending:
                if self._closed:
                    raise HubClosed
                self._ready.clear()
                await self._ready.wait()
            publication = self._pending.pop(next(iter(self._pending)))
            is_shown = self._shows(publication)
            change = self._announce(publication)
            self._record(publication)
            if is_shown:
                return change

    def _announce(self, publication: Publication) -> Publication:
        """Return the state with the type of its change: for a client that knows the end, an edit is not another one."""
        job = publication.job
        if job is None or not job.was_edited_after_end:
            return publication
        if job.job_id in self._passed:
            knows_end = self._passed[job.job_id] >= job.transition_sequence
        else:
            knows_end = (job.completed_at or 0.0) < self._ends_since
        return as_edit(publication) if knows_end else publication

    def _shows(self, publication: Publication) -> bool:
        """Tell whether a state matches the filter, or replaces one that the client may have and that matches."""
        job = publication.job
        if job is None or self._filter.matches(job) or job.job_id in self._matching:
            return True
        return job.job_id not in self._passed and self._filter.may_have_matched(job)

    def _record(self, publication: Publication) -> None:
        self._passed[publication.job_id] = publication.sequence
        if publication.job is not None and self._filter.matches(publication.job):
            self._matching.add(publication.job_id)
        else:
            self._matching.discard(publication.job_id)

    def close(self) -> None:
        self._closed = True
        self._ready.set()


class Hub:
    """Subscriptions to one export or to all exports of a user."""

    def __init__(self) -> None:
        self._by_job: dict[str, set[Subscriber]] = {}
        self._by_user: dict[str, set[Subscriber]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, (*self._by_job.values(), *self._by_user.values())))

    def subscribe(
        self,
        *,
        job_id: str | None = None,
        user_id: str | None = None,
        subscriber: Subscriber | None = None,
    ) -> Subscriber:
        """Subscribe to an export or to a user's exports; create the subscriber unless it is given."""
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
        subscribers = index.get(key, set())
        subscribers.discard(subscriber)
        if not subscribers:
            index.pop(key, None)

    def publish(self, publication: Publication) -> None:
        """Offer a committed state to all of its subscribers."""
        for subscriber in self._by_job.get(publication.job_id, ()):
            subscriber.offer(publication)
        for subscriber in self._by_user.get(publication.user_id, ()):
            subscriber.offer(publication)

    def has_subscribers(self, job_id: str, user_id: str) -> bool:
        """Tell whether the job has local subscribers; without one its state is not encoded."""
        return job_id in self._by_job or user_id in self._by_user

    def list_subscribed(self) -> tuple[list[str], list[str]]:
        """Return the ids of jobs and of users with local subscribers."""
        return list(self._by_job), list(self._by_user)

    def close(self) -> None:
        """End all streams, including those opened later."""
        self._closed = True
        for subscriber in self._subscribers():
            subscriber.close()

    def _subscribers(self) -> Iterable[Subscriber]:
        return [*chain.from_iterable((*self._by_job.values(), *self._by_user.values()))]

    def _index_for(self, job_id: str | None, user_id: str | None) -> tuple[dict[str, set[Subscriber]], str]:
        if job_id is not None:
            return self._by_job, job_id
        assert user_id is not None
        return self._by_user, user_id
