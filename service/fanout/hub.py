"""Publish job states to subscribers in memory."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

from service.fanout.broadcast import Broadcast
from service.fanout.publications import Publication, refresh_state
from service.fanout.subscribers import Subscriber
from service.jobs.models import Job, Status

AnySubscriber = Subscriber | Broadcast


class Hub:
    """Subscriptions to one export or to all exports of a user.

    The hub keeps the newest state of each export that has subscribers of its own: it gets every change of them.
    """

    def __init__(self) -> None:
        self._by_job: dict[str, set[AnySubscriber]] = {}
        self._by_user: dict[str, set[AnySubscriber]] = {}
        self._broadcasts: dict[tuple[str, str], Broadcast] = {}
        self._newest: dict[str, Publication] = {}
        self.gets_every_change = True
        """False while changes of other replicas may be missed."""
        self._closed = False
        self._conflated = 0
        self._close_others: Callable[[], None] = lambda: None

    @property
    def conflated(self) -> int:
        """How many states streams did not get, because a newer one came before they could."""
        return self._conflated + sum(subscriber.conflated for subscriber in self._subscribers())

    def __len__(self) -> int:
        return sum(subscriber.stream_count for subscriber in self._subscribers())

    def subscribe(
        self, subscriber: AnySubscriber, *, job_id: str | None = None, user_id: str | None = None
    ) -> None:
        """Subscribe to an export or to a user's exports."""
        if self._closed:
            subscriber.close()
        index, key = self._index_for(job_id, user_id)
        index.setdefault(key, set()).add(subscriber)

    def unsubscribe(
        self, subscriber: AnySubscriber, *, job_id: str | None = None, user_id: str | None = None
    ) -> None:
        index, key = self._index_for(job_id, user_id)
        subscribers = index.get(key, set())
        if subscriber in subscribers:
            subscribers.remove(subscriber)
            self._conflated += subscriber.conflated
        if not subscribers:
            index.pop(key, None)
            if index is self._by_job:
                self._newest.pop(key, None)

    @contextmanager
    def share(self, job_id: str, kind: str, encode: Callable[[Publication], bytes]) -> Iterator[Broadcast]:
        """Subscribe one stream more to an export; those of a kind share one subscriber."""
        broadcast = self._broadcasts.get((job_id, kind))
        if broadcast is None:
            broadcast = self._broadcasts[job_id, kind] = Broadcast(encode)
            self.subscribe(broadcast, job_id=job_id)
        broadcast.stream_count += 1
        try:
            yield broadcast
        finally:
            broadcast.stream_count -= 1
            if not broadcast.stream_count:
                del self._broadcasts[job_id, kind]
                self.unsubscribe(broadcast, job_id=job_id)

    def find_newest(self, job_id: str, user_id: str) -> Publication | None:
        """Return the newest state of the user's export if the hub has it for certain."""
        newest = self._newest.get(job_id) if self.gets_every_change else None
        if newest is None or newest.job is None or newest.user_id != user_id:
            return None
        return newest

    def keep_newest(self, publication: Publication) -> Publication:
        """Return the newer of two states: this one, and the one that the hub has of the export.

        A state that was read must have been read after subscribing.
        """
        newest = self._newest.get(publication.job_id)
        if newest is not None and newest.sequence >= publication.sequence:
            return newest
        if publication.job_id in self._by_job:
            self._newest[publication.job_id] = publication
        return publication

    def publish(self, publication: Publication) -> None:
        """Offer a committed state to all of its subscribers."""
        self.keep_newest(publication)
        of_job, of_user = self._by_job.get(publication.job_id, ()), self._by_user.get(publication.user_id, ())
        for subscriber in (*of_job, *of_user):  # a stream that ends unsubscribes
            subscriber.offer(publication)

    def refresh(self, refresh: Publication) -> None:
        """Offer a state again to all of its subscribers that have it: only `queue` has changed in it."""
        newest = self._newest.get(refresh.job_id)
        if newest is not None and newest.sequence == refresh.sequence:
            self._newest[refresh.job_id] = refresh_state(newest, refresh)
        of_job, of_user = self._by_job.get(refresh.job_id, ()), self._by_user.get(refresh.user_id, ())
        for subscriber in (*of_job, *of_user):
            subscriber.refresh(refresh)

    def list_pending(self) -> list[Job]:
        """Return the pending exports that have subscribers of their own."""
        jobs = (publication.job for publication in self._newest.values())
        return [job for job in jobs if job is not None and job.status is Status.PENDING]

    def has_subscribers(self, job_id: str, user_id: str) -> bool:
        """Tell whether the job has local subscribers; without one its state is not encoded."""
        return job_id in self._by_job or user_id in self._by_user

    def list_subscribed(self) -> tuple[list[str], list[str]]:
        """Return the ids of jobs and of users with local subscribers."""
        return list(self._by_job), list(self._by_user)

    def on_close(self, close: Callable[[], None]) -> None:
        """End streams that carry no exports, by a call of `close`, together with all others."""
        self._close_others = close

    def close(self) -> None:
        """End all streams, including those opened later."""
        self._closed = True
        self._close_others()
        for subscriber in self._subscribers():
            subscriber.close()

    def _subscribers(self) -> Iterable[AnySubscriber]:
        return [*chain.from_iterable((*self._by_job.values(), *self._by_user.values()))]

    def _index_for(
        self, job_id: str | None, user_id: str | None
    ) -> tuple[dict[str, set[AnySubscriber]], str]:
        if job_id is not None:
            return self._by_job, job_id
        assert user_id is not None
        return self._by_user, user_id
