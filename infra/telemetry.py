"""The id and the record of each request."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("framehook.access")

USER: Final = "framehook.user"
"""Key in a scope: the id of the user, once it is known."""
REQUEST_ID: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
"""The id of the request that is being answered; all that is logged meanwhile has it."""
_HEADER: Final = b"x-request-id"
_ROUTINE_PATHS: Final = ("/healthz", "/readyz", "/metrics")
"""What machines ask every few seconds."""
_USABLE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass
class Response:
    """What is known of a response when it ends; a status of 0 means that there was none."""

    status: int = 0
    seconds: float = 0.0
    is_stream: bool = False


OnEnd = Callable[[Scope, Response], None]


class RequestLog:
    """Log method, path, status and time of each request; queries may contain tokens and are left out.

    A request keeps the `X-Request-ID` that it comes with, or gets one; the response and all records have it. A
    WebSocket is a GET request whose status is 101.
    """

    def __init__(self, app: ASGIApp, on_end: OnEnd = lambda _scope, _response: None) -> None:
        """Call `on_end` when a request has been answered."""
        self._app = app
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started, response = time.perf_counter(), Response()
        request_id = find_request_id(scope)
        REQUEST_ID.set(request_id)  # for as long as the task of the request lasts, and those that it starts

        async def send_with_id(message: Message) -> None:
            if not response.status and (status := _status_of(message)):
                response.status, response.is_stream = status, _is_stream(message)
                if "headers" in message or message["type"] != "websocket.close":
                    headers = [*message.get("headers", ()), (_HEADER, request_id.encode())]
                    message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            response.seconds = time.perf_counter() - started
            self._on_end(scope, response)
            _log(scope, response)


class RequestIdFilter(logging.Filter):
    """Adds the id of the request that is being answered to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id; no record is dropped."""
        if (request_id := REQUEST_ID.get()) is not None:
            record.__dict__.setdefault("request_id", request_id)
        return True


def find_request_id(scope: Scope) -> str:
    """Return the id that the request has, or a new one if it has none that can be used."""
    for name, value in scope["headers"]:
        if name == _HEADER and _USABLE_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid.uuid4().hex


def _log(scope: Scope, response: Response) -> None:
    is_routine = scope["path"] in _ROUTINE_PATHS and response.status == HTTPStatus.OK
    level = logging.DEBUG if is_routine or scope["path"].startswith("/api/callbacks/") else logging.INFO
    if not logger.isEnabledFor(level):
        return
    method, path, milliseconds = scope.get("method", "GET"), scope["path"], response.seconds * 1000
    fields = {
        "method": method,
        "path": path,
        "status": response.status,
        "milliseconds": round(milliseconds, 1),
    }
    extra = {"event": "http.request", "user": scope.get(USER), "fields": fields}
    logger.log(level, "%s %s %d %.0f ms", method, path, response.status, milliseconds, extra=extra)


def _status_of(message: Message) -> int:
    """Return the status that a message begins a response with; 0 for other messages."""
    match message["type"]:
        case "http.response.start" | "websocket.http.response.start":
            return int(message["status"])
        case "websocket.accept":
            return HTTPStatus.SWITCHING_PROTOCOLS
        case "websocket.close":
            return HTTPStatus.FORBIDDEN
        case _:
            return 0


def _is_stream(message: Message) -> bool:
    """Tell whether a message begins a response that lasts as long as the client listens."""
    if message["type"] == "websocket.accept":
        return True
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )
