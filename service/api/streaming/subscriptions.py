"""What SSE and WebSockets share: a slot, the states to send, and the end of the stream."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from enum import Enum, auto

from starlette.requests import HTTPConnection

from service.api.auth import Access
from service.api.requests import path_job_id
from service.api.state import State
from service.clock import Clock
from service.fanout.hub import HubClosed, Publication, Subscriber, publication_of
from service.jobs.ids import is_awaitable_id
from service.jobs.models import Job
from service.problems import Erased, NotFound

MAX_STREAM_SECONDS = 3_600.0
PING_SECONDS = 15.0
MAX_WAIT_SECONDS = 60.0
"""How long a stream waits for an export that a client has named and not yet created."""
LOOKUP_SECONDS = 5.0
"""How often it looks for the export, at least."""


class StreamEnd(Enum):
    """Why a stream ends before its last state."""

    RECONNECT = auto()
    """The service stops, or the stream is an hour old: the client may connect again at once."""
    EXPIRED = auto()
    """The token or ticket has expired."""
    ERASED = auto()
    """The export was erased."""
    NOT_FOUND = auto()
    """The export that it waited for was not created."""
    TOO_MANY_STREAMS = auto()
    """The limit of open streams is reached, for this user or in total."""
    UNAVAILABLE = auto()
    """The database can't be read."""
    SLOW_CLIENT = auto()
    """The client has taken nothing for too long."""


class StreamEnded(Exception):
    """The stream ends before its last state."""

    def __init__(self, end: StreamEnd) -> None:
        super().__init__(end.name)
        self.end = end


class Lifetime:
    """The end of a stream: when its token expires, or after an hour.

    The client then reconnects.
    """

    def __init__(self, access: Access, clock: Clock) -> None:
        left = access.seconds_left(clock.wall())
        self.clock = clock
        self._end = StreamEnd.EXPIRED if left <= MAX_STREAM_SECONDS else StreamEnd.RECONNECT
        self._ends_at = clock.monotonic() + min(left, MAX_STREAM_SECONDS)

    @property
    def seconds_left(self) -> float:
        return self._ends_at - self.clock.monotonic()

    def check(self) -> None:
        """Raise StreamEnded once it is over."""
        if self.seconds_left <= 0:
            raise StreamEnded(self._end)


@contextmanager
def hold_slot(connection: HTTPConnection[State], user_id: str) -> Iterator[None]:
    """Count a stream of the user until the block ends; raises StreamEnded if there is no room for it."""
    slots = connection.state["stream_slots"]
    if not slots.try_acquire(user_id):
        raise StreamEnded(StreamEnd.TOO_MANY_STREAMS)
    try:
        yield
    finally:
        slots.release(user_id)


@contextmanager
def subscribe(
    connection: HTTPConnection[State],
    subscriber: Subscriber,
    *,
    user_id: str | None = None,
    job_id: str | None = None,
) -> Iterator[None]:
    """Subscribe to one export or to a user's exports until the block ends."""
    hub = connection.state["hub"]
    hub.subscribe(job_id=job_id, user_id=user_id, subscriber=subscriber)
    try:
        yield
    finally:
        hub.unsubscribe(subscriber, job_id=job_id, user_id=user_id)


async def read_changes(
    subscriber: Subscriber, lifetime: Lifetime, ping_seconds: float = PING_SECONDS
) -> AsyncGenerator[Publication | None, None]:
    """Yield each change, and None after `ping_seconds` without one; raises StreamEnded."""
    while True:
        lifetime.check()
        try:
            async with asyncio.timeout(min(ping_seconds, lifetime.seconds_left)):
                publication = await subscriber.next()
        except TimeoutError:
            yield None
        except HubClosed:
            raise StreamEnded(StreamEnd.RECONNECT) from None
        else:
            yield publication


async def read_export(
    connection: HTTPConnection[State], user_id: str, job_id: str | None, lifetime: Lifetime
) -> AsyncGenerator[Publication | None, None]:
    """Yield the stored state of an export, then each newer one up to the last, and None now and then without one.

    Without a `job_id` it waits until the export in the path is created. Raises StreamEnded.
    """
    if job_id is None:
        async with aclosing(_wait_for_export(connection, user_id, lifetime)) as lookups:
            async for created_id in lookups:
                job_id = created_id
                if created_id is None:
                    yield None
    assert job_id is not None
    subscriber = Subscriber()
    with subscribe(connection, subscriber, job_id=job_id):
        stored = await _find_unless_erased(connection, user_id, job_id)
        if stored is None:
            raise StreamEnded(StreamEnd.NOT_FOUND)
        subscriber.offer(publication_of(connection.state["serializer"], stored))
        async with aclosing(read_changes(subscriber, lifetime)) as changes:
            async for change in changes:
                yield change
                if change is not None and change.terminal:
                    return


async def _wait_for_export(
    connection: HTTPConnection[State], user_id: str, lifetime: Lifetime
) -> AsyncGenerator[str | None, None]:
    """Yield the job id of the export in the path once it exists, and None before.

    Looks again now and then: the sign that another replica created the export may be lost. Raises StreamEnded.
    """
    export_id, now = path_job_id(connection), lifetime.clock.monotonic
    ends_at, subscriber = now() + MAX_WAIT_SECONDS, Subscriber()
    with subscribe(connection, subscriber, user_id=user_id):
        async with aclosing(read_changes(subscriber, lifetime, LOOKUP_SECONDS)) as changes:
            while (job := await _find_unless_erased(connection, user_id, export_id)) is None:
                if now() >= ends_at:
                    raise StreamEnded(StreamEnd.NOT_FOUND)
                yield None
                look_again_at = now() + LOOKUP_SECONDS
                async for change in changes:
                    if change is None or now() >= look_again_at:
                        break
                    if change.job is not None and change.job.export_id == export_id:
                        break
    yield job.job_id


async def find_job(connection: HTTPConnection[State], user_id: str) -> Job | None:
    """Return the export in the path; None if a client may still create it under this id.

    Raises NotFound for any other id that the user has no export of, Erased for an export that was erased.
    """
    export_id = path_job_id(connection)
    job = await _find(connection, user_id, export_id)
    if job is None and not is_awaitable_id(export_id):
        raise NotFound("The export does not exist.")
    return job


async def _find(connection: HTTPConnection[State], user_id: str, export_id: str) -> Job | None:
    try:
        return await connection.state["exports"].get(user_id, export_id)
    except NotFound:
        return None


async def _find_unless_erased(connection: HTTPConnection[State], user_id: str, export_id: str) -> Job | None:
    """Return the export once the stream is open; raises StreamEnded if it was erased since."""
    try:
        return await _find(connection, user_id, export_id)
    except Erased:
        raise StreamEnded(StreamEnd.ERASED) from None
