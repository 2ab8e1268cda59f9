"""Live state: Server-Sent Events and WebSocket, per export and for all of a user's exports.

Both begin with the stored state and always converge to the present one; both hold one undelivered state per export.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
from sse_starlette import EventSourceResponse
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from service import queries
from service.api.exports import found_job
from service.api.parsing import answer, path_id
from service.api.state import State
from service.errors import DATABASE_AWAY, NotFound, Unauthenticated, Unavailable
from service.hub import Closed, NoticeType, Publication, Subscriber
from service.models import Job
from service.timeline import timeline

PING_SECONDS = 15
SEND_TIMEOUT_SECONDS = 30
LONGEST_STREAM_SECONDS = 3_600
RECONNECT_MILLISECONDS = 2_000
LOOK_BACK_SECONDS = 24 * 3_600
MAX_MESSAGE_BYTES = 1_024
MESSAGES_PER_WINDOW, WINDOW_SECONDS = 30, 10

_OPENING = f": stream open\nretry: {RECONNECT_MILLISECONDS}\n\n".encode()


async def export_events(request: Request[State]) -> Response:
    """SSE of one export; with `Accept: application/json` its stored timeline."""
    if "application/json" in request.headers.get("accept", ""):
        return await _timeline(request)
    user_id = await request.state["authenticator"].stream_user(request)
    try:
        job = await _job(request, user_id)
    except DATABASE_AWAY:
        return _event_stream(_come_back())  # an EventSource that is answered 503 never asks again
    seen = request.headers.get("last-event-id", "")
    if job.status.final and seen.isdecimal() and len(seen) < 19 and int(seen) >= job.sequence:  # noqa: PLR2004
        return Response(status_code=204)
    return _event_stream(_frames(request, user_id, job.job_id))


async def user_events(request: Request[State]) -> Response:
    """SSE of all the caller's exports."""
    user_id = await request.state["authenticator"].stream_user(request)
    return _event_stream(_frames(request, user_id, None))


async def ticket(request: Request[State]) -> Response:
    """A ticket for clients that can't set headers: valid for a minute, as often as it takes."""
    user_id = await request.state["authenticator"].user(request)
    return answer({"ticket": request.state["authenticator"].ticket(user_id, now=time.time())}, 201)


async def export_socket(socket: WebSocket[State]) -> None:
    """WebSocket of one export."""
    await _serve_socket(socket, per_export=True)


async def user_socket(socket: WebSocket[State]) -> None:
    """WebSocket of all the caller's exports."""
    await _serve_socket(socket, per_export=False)


async def _timeline(request: Request[State]) -> Response:
    job = await found_job(request)
    async with request.state["database"].reading() as session:
        rows = await queries.timeline(session, job.job_id)
    return answer(timeline(job, rows, gpu=request.state["gpu"], now=time.time()))


def _event_stream(frames: AsyncIterator[bytes]) -> Response:
    return EventSourceResponse(
        frames,
        ping=PING_SECONDS,
        sep="\n",
        send_timeout=SEND_TIMEOUT_SECONDS,
        # The hub ends every stream before the server stops; the library's own way is left as the last resort.
        shutdown_event=anyio.Event(),
        shutdown_grace_period=5,
    )


async def _frames(request: Request[State], user_id: str, job_id: str | None) -> AsyncIterator[bytes]:
    yield _OPENING
    async with _subscribed(request, user_id, job_id) as subscriber:
        async for publication in _publications(subscriber):
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (
                publication.sequence,
                publication.type.encode(),
                publication.body,
            )
            if job_id is not None and publication.terminal:
                return


async def _come_back() -> AsyncIterator[bytes]:
    yield _OPENING


@asynccontextmanager
async def _subscribed(
    connection: HTTPConnection[State], user_id: str, job_id: str | None
) -> AsyncIterator[Subscriber]:
    """Listen first, read the stored state then: nothing falls between the two."""
    hub, view = connection.state["hub"], connection.state["view"]
    by = {"job_id": job_id} if job_id is not None else {"user_id": user_id}
    subscriber = hub.subscribe(**by)
    try:
        for job in await _stored(connection, user_id, job_id):
            subscriber.offer(view.publication(job))
        yield subscriber
    finally:
        hub.unsubscribe(subscriber, **by)


async def _stored(connection: HTTPConnection[State], user_id: str, job_id: str | None) -> list[Job]:
    async with connection.state["database"].reading() as session:
        if job_id is None:
            found = await queries.current(session, user_id, since=time.time() - LOOK_BACK_SECONDS)
            return found[::-1]
        job = await queries.get(session, user_id, job_id)
        return [job] if job else []


async def _publications(subscriber: Subscriber) -> AsyncIterator[Publication]:
    try:
        async with asyncio.timeout(LONGEST_STREAM_SECONDS):
            while True:
                yield await subscriber.next()
    except (Closed, TimeoutError):
        return


async def _job(connection: HTTPConnection[State], user_id: str) -> Job:
    async with connection.state["database"].reading() as session:
        job = await queries.get(session, user_id, path_id(connection))
    if job is None:
        raise NotFound("There is no such export.")
    return job


async def _serve_socket(socket: WebSocket[State], *, per_export: bool) -> None:
    if not _same_origin(socket):
        await socket.close(1008)
        return
    await socket.accept(_subprotocol(socket))
    try:
        user_id = await socket.state["authenticator"].stream_user(socket)
        job_id = (await _job(socket, user_id)).job_id if per_export else None
    except Unauthenticated:
        await socket.close(4401)
        return
    except NotFound:
        await socket.close(4404)
        return
    except (Unavailable, *DATABASE_AWAY):
        await socket.close(1013)
        return
    try:
        await _converse(socket, user_id, job_id)
    except WebSocketDisconnect:
        return


async def _converse(socket: WebSocket[State], user_id: str, job_id: str | None) -> None:
    """Send and listen at once; whichever ends first ends the other, and its code closes the socket."""
    sending = asyncio.create_task(_send_states(socket, user_id, job_id))
    listening = asyncio.create_task(_listen(socket))
    try:
        done, _ = await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)
    await socket.close(next(iter(done)).result())


async def _send_states(socket: WebSocket[State], user_id: str, job_id: str | None) -> int:
    async with _subscribed(socket, user_id, job_id) as subscriber:
        async for publication in _publications(subscriber):
            if isinstance(publication.type, NoticeType):
                continue  # what comes here is a job, always
            done = publication.terminal
            text = f'{publication.body[:-1].decode()},"done":{"true" if done else "false"}}}'
            try:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await socket.send_text(text)
            except TimeoutError:
                return 1008
            if job_id is not None and done:
                return 1000
    return 1012


async def _listen(socket: WebSocket[State]) -> int:
    recent: deque[float] = deque(maxlen=MESSAGES_PER_WINDOW)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text = message.get("text") or ""
        if len(text.encode()) > MAX_MESSAGE_BYTES or len(message.get("bytes") or b"") > MAX_MESSAGE_BYTES:
            return 1009
        now = time.monotonic()
        if len(recent) == MESSAGES_PER_WINDOW and now - recent[0] < WINDOW_SECONDS:
            return 1008
        recent.append(now)
        if text == "ping":
            await socket.send_text("pong")


def _same_origin(socket: WebSocket[State]) -> bool:
    """Browsers send Origin with a WebSocket and let any page open one; other clients send none."""
    origin = socket.headers.get("origin")
    if origin is None or origin in socket.state["allowed_origins"]:
        return True
    return urlsplit(origin).netloc in (
        socket.headers.get("host", ""),
        urlsplit(socket.state["origin"]).netloc,
    )


def _subprotocol(socket: WebSocket[State]) -> str | None:
    return "framehook" if "framehook" in socket.scope.get("subprotocols", []) else None
