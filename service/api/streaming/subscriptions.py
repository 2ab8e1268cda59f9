"""What SSE and WebSockets share: a slot, the states to send, and the end of the stream."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import Any, NamedTuple

from starlette.requests import HTTPConnection

from service.api.requests import path_job_id
from service.api.state import State
from service.api.streaming.direct import EXTENSION, KEEP_ALIVE_SECONDS, DirectStream
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.fanout.publications import Publication, publication_of
from service.fanout.subscribers import Encode, HubClosed, Subscriber
from service.jobs.ids import is_awaitable_id
from service.jobs.models import Job
from service.problems import Erased, NotFound

MAX_WAIT_SECONDS = 60.0
"""How long a stream waits for an export that a client has named and not yet created."""
LOOKUP_SECONDS = 5.0
"""How often it looks for the export, at least."""


class ExportRoad(NamedTuple):
    """The fast road of an export's states: the stream, and how it is encoded for all of its kind."""

    stream: DirectStream
    kind: str
    encode: Encode


def find_offered(connection: HTTPConnection[State]) -> Any:
    """Return the connection if the server offers it for the fast road."""
    return connection.scope.get("extensions", {}).get(EXTENSION)


@contextmanager
def hold_slot(connection: HTTPConnection[State], user_id: str) -> Iterator[None]:
    """Count a stream of the user until the block ends; raises StreamEnded if there is no room for it."""
    slots = connection.state["stream_slots"]
    if not slots.try_acquire(user_id):
        raise StreamEnded(StreamEnd.TOO_MANY_STREAMS)
    open_streams = connection.state["metrics"].streams.open.labels(connection.scope["type"])
    open_streams.inc()
    try:
        yield
    finally:
        open_streams.dec()
        slots.release(user_id)


def count_end(connection: HTTPConnection[State], end: StreamEnd) -> None:
    """Count a stream that ends before its last state."""
    connection.state["metrics"].streams.ended.labels(end.name.lower()).inc()


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
    hub.subscribe(subscriber, job_id=job_id, user_id=user_id)
    try:
        yield
    finally:
        hub.unsubscribe(subscriber, job_id=job_id, user_id=user_id)


@contextmanager
def hold_resources(direct: DirectStream | None) -> Iterator[ExitStack]:
    """Give what holds the resources of a stream: until the block ends, or a direct stream."""
    if direct is not None:
        yield direct.resources
        return
    with ExitStack() as resources:
        yield resources


async def read_changes(
    subscriber: Subscriber,
    lifetime: Lifetime,
    ping_seconds: float = KEEP_ALIVE_SECONDS,
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
    connection: HTTPConnection[State],
    user_id: str,
    job_id: str | None,
    lifetime: Lifetime,
    road: ExportRoad | None,
) -> AsyncGenerator[Publication | None, None]:
    """Yield the stored state of an export, then each newer one up to the last, and None now and then without one.

    Without a `job_id` it waits until the export in the path is created. The newer ones take the fast road if there is
    one, and are not yielded. Raises StreamEnded.
    """
    if job_id is None:
        async with aclosing(_wait_for_export(connection, user_id, lifetime)) as lookups:
            async for created_id in lookups:
                job_id = created_id
                if created_id is None:
                    yield None
    assert job_id is not None
    if road is not None:
        shared = connection.state["hub"].share(job_id, road.kind, road.encode)
        broadcast = road.stream.resources.enter_context(shared)
        first = await _read_newest(connection, user_id, job_id)
        yield first
        if not first.terminal:
            road.stream.follow_export(broadcast, first, lifetime)
        return
    subscriber = Subscriber()
    with subscribe(connection, subscriber, job_id=job_id):
        subscriber.offer(await _read_newest(connection, user_id, job_id))
        async with aclosing(read_changes(subscriber, lifetime)) as changes:
            async for change in changes:
                yield change
                if change is not None and change.terminal:
                    return


async def _read_newest(connection: HTTPConnection[State], user_id: str, job_id: str) -> Publication:
    """Return the newest state of an export that was subscribed to; raises StreamEnded.

    The hub has it if another stream has this export already.
    """
    hub = connection.state["hub"]
    if (newest := hub.find_newest(job_id, user_id)) is not None:
        return newest
    stored = await _find_unless_erased(connection, user_id, job_id)
    if stored is None:
        raise StreamEnded(StreamEnd.NOT_FOUND)
    return hub.keep_newest(publication_of(connection.state["serializer"], stored))


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
    newest = connection.state["hub"].find_newest(export_id, user_id)
    job = newest.job if newest is not None else await _find(connection, user_id, export_id)
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
