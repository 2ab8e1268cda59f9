"""WebSockets of one export, and of all exports of a user: states as JSON text.

They answer `ping`, and close with a code that says what to do next.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from infra.database.errors import DATABASE_ERRORS
from service.api.auth import Access
from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.problem_handlers import problem_response
from service.api.state import State
from service.api.streaming.subscriptions import (
    Lifetime,
    TooManyStreams,
    find_job,
    read_changes,
    read_stored,
    subscribe,
)
from service.fanout.hub import NoticeType, Publication, Subscriber
from service.jobs.serializers import Export
from service.problems import Forbidden, NotFound, Problem, Unauthenticated, Unavailable, UpgradeRequired
from service.web_addresses import ANY_ORIGIN

SEND_TIMEOUT_SECONDS = 30
MAX_MESSAGE_BYTES = 1_024
MESSAGES_PER_WINDOW, WINDOW_SECONDS = 30, 10
TRY_AGAIN_LATER = 1013
CLOSE_CODES = {
    1008: "The client sent too many messages, or read nothing for 30 s.",
    1009: "The client sent a message of more than 1 KiB.",
    1012: "The service restarts, or the socket is an hour old: reconnect.",
    1013: "There is no room for more streams: try again later.",
    4401: "The token or ticket has expired: reconnect with another.",
}
FOREIGN_ORIGIN = "Pages of this origin may not open WebSockets here; name the origin in ALLOWED_ORIGINS."


class SocketState(Export):
    """A message: the export, and whether it has ended."""

    done: bool


@declare_operation(
    "open_export_socket",
    Tag.STREAMS,
    credential=Credential.STREAM,
    answers={
        101: Answer(
            "A WebSocket: the state of the export, then each change, as JSON. `ping` is answered with `pong`.",
            messages={"state": SocketState},
            close_codes={1000: "The export has ended."} | CLOSE_CODES,
        )
    },
    problems=(Forbidden, UpgradeRequired),
)
async def export_socket(socket: WebSocket[State]) -> None:
    """Serve a WebSocket of one export."""
    await _serve_socket(socket, per_export=True)


@declare_operation(
    "open_user_socket",
    Tag.STREAMS,
    credential=Credential.STREAM,
    answers={
        101: Answer(
            "A WebSocket: the state of each export, then each change, as JSON. `ping` is answered with `pong`.",
            messages={"state": SocketState},
            close_codes=CLOSE_CODES,
        )
    },
    problems=(Forbidden, UpgradeRequired),
)
async def user_socket(socket: WebSocket[State]) -> None:
    """Serve a WebSocket of all exports of the user."""
    await _serve_socket(socket, per_export=False)


async def require_upgrade(_request: Request[State]) -> Response:
    """Say that the path is one of a WebSocket."""
    raise UpgradeRequired


async def _serve_socket(socket: WebSocket[State], *, per_export: bool) -> None:
    with suppress(WebSocketDisconnect):  # a client may disconnect at any time, also before it is rejected
        if not _is_allowed_origin(socket):
            await _refuse_handshake(socket, Forbidden(FOREIGN_ORIGIN))
            return
        try:
            access = await socket.state["authenticator"].stream_access(socket)
            job_id = (await find_job(socket, access.user_id)).job_id if per_export else None
        except (Unauthenticated, NotFound) as problem:
            await _refuse_handshake(socket, problem)
        except (Unavailable, *DATABASE_ERRORS):
            await socket.accept(_subprotocol(socket))
            await socket.close(TRY_AGAIN_LATER)
        else:
            await socket.accept(_subprotocol(socket))
            await _run_socket(socket, access, job_id)


async def _refuse_handshake(socket: WebSocket[State], problem: Problem) -> None:
    """Answer the handshake with an HTTP response, which says why there is no WebSocket."""
    with suppress(OSError):  # the client has disconnected
        await socket.send_denial_response(problem_response(problem, socket.url.path))


async def _run_socket(socket: WebSocket[State], access: Access, job_id: str | None) -> None:
    """Send and receive concurrently.

    The first that ends stops the other, and its code closes the socket.
    """
    sending = asyncio.create_task(_serve_states(socket, access, job_id))
    listening = asyncio.create_task(_answer_pings(socket))
    try:
        done, _ = await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)
    await socket.close(next(iter(done)).result())


async def _serve_states(socket: WebSocket[State], access: Access, job_id: str | None) -> int:
    """Send states until the end, and return the code to close with."""
    subscriber, lifetime = Subscriber(), Lifetime(access)
    try:
        with subscribe(socket, access.user_id, job_id, subscriber):
            async with aclosing(_states(socket, access.user_id, job_id, subscriber, lifetime)) as states:
                return await _send_states(socket, states, lifetime, per_export=job_id is not None)
    except (TooManyStreams, *DATABASE_ERRORS):
        return TRY_AGAIN_LATER
    except TimeoutError:
        return 1008


async def _send_states(
    socket: WebSocket[State], states: AsyncIterator[Publication], lifetime: Lifetime, *, per_export: bool
) -> int:
    async for state in states:
        done = state.terminal
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await socket.send_text(f'{state.body[:-1].decode()},"done":{"true" if done else "false"}}}')
        await asyncio.sleep(0)  # let other tasks run, also while this client reads everything at once
        if per_export and done:
            return 1000
        if lifetime.is_over:
            break
    return 4401 if lifetime.has_expired else 1012


async def _states(
    socket: WebSocket[State], user_id: str, job_id: str | None, subscriber: Subscriber, lifetime: Lifetime
) -> AsyncGenerator[Publication, None]:
    """Yield the stored states, then each newer one."""
    if job_id is None:
        opening = await socket.state["initial_states"].read(user_id, None)
        for publication in (*opening.snapshot, *opening.rest):
            if subscriber.mark_delivered(publication):
                yield publication
    else:
        stored = await read_stored(socket, user_id, job_id)
        if stored is not None:
            subscriber.offer(stored)
    async for change in read_changes(subscriber, lifetime):
        if change is not None and not isinstance(change.type, NoticeType):  # this socket sends jobs only
            yield change


async def _answer_pings(socket: WebSocket[State]) -> int:
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


def _is_allowed_origin(socket: WebSocket[State]) -> bool:
    """Check `Origin`, for browsers let a page of any origin open a WebSocket.

    Other clients send no `Origin`.
    """
    origin = socket.headers.get("origin")
    if origin is None or {origin, ANY_ORIGIN} & set(socket.state["allowed_origins"]):
        return True
    return urlsplit(origin).netloc in (
        socket.headers.get("host", ""),
        urlsplit(socket.state["origin"]).netloc,
    )


def _subprotocol(socket: WebSocket[State]) -> str | None:
    return "framehook" if "framehook" in socket.scope.get("subprotocols", []) else None
