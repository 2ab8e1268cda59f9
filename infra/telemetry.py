"""Logs: one line a record, as text for people or JSON for machines; and one record a request, without its query."""

import json
import logging
import sys
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("framehook.access")

QUIET = ("aiosqlite", "alembic", "httpcore", "httpx", "sse_starlette", "uvicorn.access", "websockets")


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        shown = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        return json.dumps(shown, ensure_ascii=False)


def configure_logging(log_format: str, level: int = logging.INFO) -> None:
    """Send every record to standard error."""
    stream = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    stream.setFormatter(JsonLines() if log_format == "json" else text)
    logging.basicConfig(level=level, handlers=[stream], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class AccessLog:
    """Logs method, path, status and time of each request; queries may hold tokens and are left out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            took = (time.perf_counter() - began) * 1000
            level = logging.DEBUG if scope["path"].startswith("/api/callbacks/") else logging.INFO
            logger.log(level, "%s %s %d %.0f ms", scope["method"], scope["path"], status, took)
