"""What SSE and WebSockets share: a slot, the changes, and the end of the stream."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from service.api.auth import Access
from service.api.requests import path_job_id
from service.api.state import State
from service.fanout.hub import HubClosed, Publication, Subscriber, publication_of
from service.jobs import queries
from service.jobs.models import Job

MAX_STREAM_SECONDS = 3_600.0
PING_SECONDS = 15.0


class TooManyStreams(Exception):
    """The limit of open streams is reached, for this user or in total."""


class Lifetime:
    """The end of a stream: when its token expires, or after an hour.

    The client then reconnects.
    """

    def __init__(self, access: Access) -> None:
        left = access.seconds_left(time.time())
        self._has_token_end = left <= MAX_STREAM_SECONDS
        self._ends_at = time.monotonic() + min(left, MAX_STREAM_SECONDS)

    @property
    def seconds_left(self) -> float:
        return self._ends_at - time.monotonic()

    @property
    def is_over(self) -> bool:
        return self.seconds_left <= 0

    @property
    def has_expired(self) -> bool:
        """Whether it is over because the token has expired."""
        return self.is_over and self._has_token_end


@contextmanager
def subscribe(
    connection: HTTPConnection[State], user_id: str, job_id: str | None, subscriber: Subscriber
) -> Iterator[None]:
    """Take a slot and subscribe to changes until the block ends; raises TooManyStreams."""
    hub, slots = connection.state["hub"], connection.state["stream_slots"]
    if not slots.try_acquire(user_id):
        raise TooManyStreams
    owner = None if job_id is not None else user_id
    hub.subscribe(job_id=job_id, user_id=owner, subscriber=subscriber)
    try:
        yield
    finally:
        hub.unsubscribe(subscriber, job_id=job_id, user_id=owner)
        slots.release(user_id)


async def read_changes(subscriber: Subscriber, lifetime: Lifetime) -> AsyncIterator[Publication | None]:
    """Yield each change, and None after PING_SECONDS without one, until the stream ends."""
    while not lifetime.is_over:
        try:
            async with asyncio.timeout(min(PING_SECONDS, lifetime.seconds_left)):
                publication = await subscriber.next()
        except TimeoutError:
            yield None
        except HubClosed:
            return
        else:
            yield publication


async def read_stored(connection: HTTPConnection[State], user_id: str, job_id: str) -> Publication | None:
    """Read the current state of one export from the database."""
    async with connection.state["database"].reading() as session:
        job = await queries.get(session, user_id, job_id)
    return publication_of(connection.state["serializer"], job) if job else None


async def find_job(connection: HTTPConnection[State], user_id: str) -> Job:
    """Return the export in the path; raises NotFound."""
    return await connection.state["exports"].get(user_id, path_job_id(connection))
