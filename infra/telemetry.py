"""The access log: one record per request, without the query string."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("framehook.access")


class AccessLog:
    """Log method, path, status and time of each request; queries may contain tokens and are left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            milliseconds = (time.perf_counter() - started) * 1000
            level = logging.DEBUG if scope["path"].startswith("/api/callbacks/") else logging.INFO
            logger.log(level, "%s %s %d %.0f ms", scope["method"], scope["path"], status, milliseconds)
