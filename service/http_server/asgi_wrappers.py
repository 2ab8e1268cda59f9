"""ASGI applications around others: for readers who know no chunks, and for requests that there is no room for."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.api.problem_handlers import problem_response
from service.problems import TooManyConnections

RECONNECT_MILLISECONDS = 10_000
_EVENT_STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


def close_delimited(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Wrap `app` for an HTTP/1.0 client: a body without a length ends with the connection, and has no chunks.

    uvicorn sends chunks to everybody. Here it is told that each piece of the body is all that it expected.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_plain(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return wrapped


async def refuse_overload(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that came over the limit of connections."""
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if b"text/event-stream" not in accept:
        await problem_response(TooManyConnections(), scope["path"])(scope, receive, send)
        return
    # An EventSource that is answered 503 never comes back; one whose stream ends does.
    await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
    await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RECONNECT_MILLISECONDS})
