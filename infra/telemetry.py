"""The access log: one record per request, without the query string."""

import logging
import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("framehook.access")


class AccessLog:
    """Log method, path, status and time of each request; queries may contain tokens and are left out.

    A WebSocket is a GET request whose status is 101.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def record_status(message: Message) -> None:
            nonlocal status
            status = status or _status_of(message)
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            level = logging.DEBUG if scope["path"].startswith("/api/callbacks/") else logging.INFO
            method = scope.get("method", "GET")
            logger.log(level, "%s %s %d %.0f ms", method, scope["path"], status, milliseconds)


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
