"""Wrap ASGI applications for unusual clients, and reject requests over the limit."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.api.problem_handlers import problem_response
from service.api.streaming.event_stream import closing_event
from service.problems import TooManyConnections

RECONNECT_MILLISECONDS = 10_000
_EVENT_STREAM = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


def close_delimited(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Wrap `app` for an HTTP/1.0 client: end a body by closing the connection.

    uvicorn uses chunked encoding for every client. Setting the expected length to that of each part turns it off.
    """

    async def delimit_body(scope: Scope, receive: Receive, send: Send) -> None:
        has_length = True

        async def send_unchunked(message: Message) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                cycle.chunked_encoding = None if has_length else False
            elif not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unchunked)

    return delimit_body


def close_unless_continued(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Wrap `app` for a client that waits with its body: close the connection if it is answered without it.

    Such a client may send the next request in place of the body, which would be read as the body.
    """

    async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_closing(message: Message) -> None:
            if cycle.waiting_for_100_continue and cycle.more_body:
                cycle.keep_alive = False
            await send(message)

        await app(scope, receive, send_closing)

    return answer_at_once


async def reject_overload(scope: Scope, receive: Receive, send: Send) -> None:
    """Reject a request that exceeds the connection limit."""
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    if b"text/event-stream" not in accept:
        await problem_response(TooManyConnections(), scope["path"])(scope, receive, send)
        return
    # An EventSource does not reconnect after a 503; it does after the end of a stream.
    await send({"type": "http.response.start", "status": 200, "headers": _EVENT_STREAM})
    (refusal,) = closing_event(
        "stream.refused", "too_many_connections", retry_milliseconds=RECONNECT_MILLISECONDS
    )
    await send({"type": "http.response.body", "body": refusal})
