"""Hold what a stream has not delivered yet: the newest state of each export."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from service.fanout.publications import Publication, as_edit, refresh_state
from service.jobs.filters import EVERY_EXPORT, ExportFilter

Encode = Callable[[Publication], bytes]
"""Returns the frame of a publication, empty if the client does not get it."""


class HubClosed(Exception):
    """The hub is closed; the client should reconnect to any replica."""


class Feed(Protocol):
    """A stream to whose connection frames can be written at once."""

    is_blocked: bool
    """Whether the connection still holds bytes that the client has not taken."""
    write: Callable[[bytes], None]

    def close(self) -> None:
        """End the stream because the hub is closed."""
        ...


class Subscriber:
    """One open stream; `offer` never waits.

    States go straight to the feed of the stream if there is one and it takes them; `next` waits for the others.
    What has ended before `ends_since` and was never delivered is edited when it comes, and has not ended just now.
    """

    stream_count = 1
    conflated = 0
    _encode: Encode

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
        self._feed: Feed | None = None

    def attach(self, feed: Feed, encode: Encode) -> None:
        """Send the pending states, and from now on each new one, to the feed of the stream."""
        self._feed, self._encode = feed, encode
        self.flush()

    def flush(self) -> None:
        """Send pending states until the feed is blocked."""
        while self._feed is not None and self._pending and not self._feed.is_blocked:
            publication = self._pending.pop(next(iter(self._pending)))
            if (change := self._take(publication)) is not None:
                self._send(self._feed, change)
        if self._feed is not None and self._closed and not self._pending:
            self._feed.close()

    def offer(self, publication: Publication) -> None:
        """Send the state at once, or keep it, if it is newer than the pending and the delivered one."""
        feed = self._feed
        if feed is not None and not feed.is_blocked and not self._pending:
            if publication.sequence > self._passed.get(publication.job_id, 0):
                self.caught_up_at = self._clock()
                if (change := self._take(publication)) is not None:
                    self._send(feed, change)
            return
        pending = self._pending.get(publication.job_id)
        newest = max(pending.sequence if pending else 0, self._passed.get(publication.job_id, 0))
        if publication.sequence > newest:
            if not self._pending:
                self.caught_up_at = self._clock()
            self.conflated += pending is not None
            self._pending[publication.job_id] = publication
            self._ready.set()

    def refresh(self, refresh: Publication) -> None:
        """Send a state again in which only `queue` has changed, if it is the newest one that the client gets."""
        job_id = refresh.job_id
        if (pending := self._pending.get(job_id)) is not None:
            if pending.sequence == refresh.sequence:
                self._pending[job_id] = refresh_state(pending, refresh)
            return
        is_shown = self._filter is EVERY_EXPORT or job_id in self._matching
        if not is_shown or self._passed.get(job_id) != refresh.sequence:
            return
        if self._feed is not None and not self._feed.is_blocked and not self._pending:
            self._send(self._feed, refresh)
            return
        self._pending[job_id] = refresh
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
            if (change := self._take(publication)) is not None:
                return change

    def _send(self, feed: Feed, publication: Publication) -> None:
        if frame := self._encode(publication):
            feed.write(frame)

    def _take(self, publication: Publication) -> Publication | None:
        """Record a state as delivered, and return it with the type of its change; None if the client gets none."""
        is_shown = self._filter is EVERY_EXPORT or self._shows(publication)
        change = self._announce(publication)
        self._record(publication)
        return change if is_shown else None

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
        if publication.batch is not None:
            return self._filter.matches_batch(publication.batch)
        if job is None or self._filter.matches(job) or job.job_id in self._matching:
            return True
        return job.job_id not in self._passed and self._filter.may_have_matched(job)

    def _record(self, publication: Publication) -> None:
        self._passed[publication.job_id] = publication.sequence
        if self._filter is EVERY_EXPORT:
            return
        if publication.job is not None and self._filter.matches(publication.job):
            self._matching.add(publication.job_id)
        else:
            self._matching.discard(publication.job_id)

    def close(self) -> None:
        self._closed = True
        self._ready.set()
        self.flush()
