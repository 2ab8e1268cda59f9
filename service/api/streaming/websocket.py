"""WebSockets of one export, and of all exports of a user: states as JSON text.

They answer `ping`, and close with a code that says what to do next.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from infra.database.errors import DATABASE_ERRORS
from service.api.auth import Access
from service.api.export_filters import StreamQuery
from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.problem_handlers import problem_response
from service.api.requests import parse_query
from service.api.state import State
from service.api.streaming.close_codes import CLOSE_CODES, CODES_OF_ENDS, EXPORT_CLOSE_CODES
from service.api.streaming.direct import ConnectionCut, DirectStream, Message
from service.api.streaming.incoming_messages import IncomingMessages
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.api.streaming.socket_states import export_states, render_message, user_states
from service.api.streaming.subscriptions import (
    count_end,
    find_job,
    find_offered,
    hold_resources,
    hold_slot,
)
from service.fanout.notices import ErasedExport
from service.fanout.publications import Publication
from service.jobs.serializers import Export
from service.problems import (
    Erased,
    Forbidden,
    Invalid,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    UpgradeRequired,
)

SEND_TIMEOUT_SECONDS = 30
ENDED = 1000
FOREIGN_ORIGIN = "Pages of this origin may not open WebSockets here; name the origin in ALLOWED_ORIGINS."

StatesReader = Callable[..., AsyncGenerator[Publication | None, None]]
"""Takes the lifetime, and `direct` if the stream takes the fast road."""


class SocketState(Export):
    """A message: the export, and whether it has ended."""

    done: bool


class SocketErasure(ErasedExport):
    """The last message of an export that was erased."""

    done: Literal[True]


@declare_operation(
    "open_export_socket",
    Tag.STREAMS,
    credential=Credential.STREAM,
    answers={
        101: Answer(
            "A WebSocket: the state of the export, then each change, as JSON. `ping` is answered with `pong`.",
            messages={"state": SocketState, "erased": SocketErasure},
            close_codes=EXPORT_CLOSE_CODES,
        )
    },
    problems=(Forbidden, Erased, UpgradeRequired),
)
async def export_socket(socket: WebSocket[State]) -> None:
    """Serve a WebSocket of one export."""
    await _serve_socket(socket, _open_export)


@declare_operation(
    "open_user_socket",
    Tag.STREAMS,
    credential=Credential.STREAM,
    query=StreamQuery,
    answers={
        101: Answer(
            "A WebSocket: the state of each export, then each change, as JSON. `ping` is answered with `pong`.",
            messages={"state": SocketState, "erased": SocketErasure},
            close_codes=CLOSE_CODES,
        )
    },
    problems=(Forbidden, UpgradeRequired),
)
async def user_socket(socket: WebSocket[State]) -> None:
    """Serve a WebSocket of the user's exports that the query selects."""
    await _serve_socket(socket, _open_user)


async def require_upgrade(_request: Request[State]) -> Response:
    """Say that the path is one of a WebSocket."""
    raise UpgradeRequired


async def _serve_socket(
    socket: WebSocket[State], open_states: Callable[[WebSocket[State], str], Awaitable[StatesReader]]
) -> None:
    with suppress(WebSocketDisconnect):  # a client may disconnect at any time, also before it is rejected
        if not socket.state["origins"].may_connect(socket):
            socket.state["origins"].refusals.record(socket.headers.get("origin", "unknown"), "a WebSocket")
            await _refuse_handshake(socket, Forbidden(FOREIGN_ORIGIN))
            return
        try:
            access = await socket.state["authenticator"].stream_access(socket)
            read_states = await open_states(socket, access.user_id)
        except (Unauthenticated, Forbidden, NotFound, Erased, Invalid) as problem:
            await _refuse_handshake(socket, problem)
        except (Unavailable, *DATABASE_ERRORS):
            await _accept_handshake(socket)
            await socket.close(CODES_OF_ENDS[StreamEnd.UNAVAILABLE])
        else:
            await _accept_handshake(socket)
            await _run_socket(socket, access, read_states)


async def _open_export(socket: WebSocket[State], user_id: str) -> StatesReader:
    job = await find_job(socket, user_id)
    return partial(export_states, socket, user_id, job.job_id if job is not None else None)


async def _open_user(socket: WebSocket[State], user_id: str) -> StatesReader:
    return partial(user_states, socket, user_id, parse_query(socket, StreamQuery).to_filter())


async def _accept_handshake(socket: WebSocket[State]) -> None:
    """Accept the handshake; raises WebSocketDisconnect if the client has disconnected."""
    try:
        await socket.accept(_subprotocol(socket))
    except OSError:
        raise WebSocketDisconnect from None


async def _refuse_handshake(socket: WebSocket[State], problem: Problem) -> None:
    """Answer the handshake with an HTTP response, which says why there is no WebSocket."""
    with suppress(OSError):  # the client has disconnected
        await socket.send_denial_response(problem_response(problem, socket.url.path))


async def _run_socket(socket: WebSocket[State], access: Access, read_states: StatesReader) -> None:
    """Send and receive until one of them ends, then close the socket with its code."""
    messages = IncomingMessages()
    direct = _open_direct(socket, messages)
    if direct is None:
        await socket.close(await _run_tasks(socket, access, read_states, messages))
        return
    try:
        with direct:
            code = await _send_states(socket, access, partial(read_states, direct=direct), direct)
    except ConnectionCut as cut:
        if cut.code is None:
            return
        code = cut.code
    if not direct.goes_on:
        await socket.close(code)


def _open_direct(socket: WebSocket[State], messages: IncomingMessages) -> DirectStream | None:
    """Return a stream on the fast road if the server offers it."""
    connection = find_offered(socket)
    if connection is None:
        return None

    def end(reason: StreamEnd | int | None) -> None:
        if isinstance(reason, StreamEnd):
            count_end(socket, reason)
        connection.close(CODES_OF_ENDS[reason] if isinstance(reason, StreamEnd) else reason or ENDED)

    def receive(message: Message) -> int | None:
        code = messages.check(message)
        if code is None and messages.is_ping(message):
            connection.transport.write(connection.encode(b"pong"))
        return code

    return DirectStream(connection, socket.state["stream_timer"], end, receive)


async def _run_tasks(
    socket: WebSocket[State], access: Access, read_states: StatesReader, messages: IncomingMessages
) -> int:
    """Send and receive concurrently; the first that ends stops the other, and returns the code."""
    sending = asyncio.create_task(_send_states(socket, access, read_states))
    listening = asyncio.create_task(_answer_pings(socket, messages))
    try:
        done, _ = await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, listening):
            task.cancel()
        await asyncio.gather(sending, listening, return_exceptions=True)
    return next(iter(done)).result()


async def _send_states(
    socket: WebSocket[State], access: Access, read_states: StatesReader, direct: DirectStream | None = None
) -> int:
    """Send states until the end, and return the code to close with."""
    try:
        with hold_resources(direct) as resources:
            resources.enter_context(hold_slot(socket, access.user_id))
            async with aclosing(read_states(Lifetime(access, socket.state["clock"]))) as states:
                async for state in states:
                    if state is not None:
                        await _send_state(socket, state)
    except StreamEnded as ended:
        count_end(socket, ended.end)
        return CODES_OF_ENDS[ended.end]
    except DATABASE_ERRORS:
        count_end(socket, StreamEnd.UNAVAILABLE)
        return CODES_OF_ENDS[StreamEnd.UNAVAILABLE]
    return ENDED


async def _send_state(socket: WebSocket[State], state: Publication) -> None:
    try:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
            await socket.send_text(render_message(state).decode())
    except TimeoutError:
        raise StreamEnded(StreamEnd.SLOW_CLIENT) from None
    await asyncio.sleep(0)  # let other tasks run, also while this client reads everything at once


async def _answer_pings(socket: WebSocket[State], messages: IncomingMessages) -> int:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        if (code := messages.check(message)) is not None:
            return code
        if messages.is_ping(message):
            await socket.send_text("pong")


def _subprotocol(socket: WebSocket[State]) -> str | None:
    return "framehook" if "framehook" in socket.scope.get("subprotocols", []) else None
