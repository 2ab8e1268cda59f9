"""The WebSocket protocol of the server: counted in its limits, and offered to streams."""

import logging
from typing import Any

from uvicorn._types import ASGISendEvent

from service.api.streaming.direct import EXTENSION
from service.http_server.connections import Connections
from service.http_server.direct_streams import DirectSocket

_logger = logging.getLogger("uvicorn.error.websocket")
_logger.setLevel(logging.WARNING)
# Uvicorn logs it with a traceback, as if it was an error of the service; the client gets the code of the close.
_logger.addFilter(lambda record: not str(record.msg).startswith("Invalid UTF-8 sequence"))


class CountedWebSocket(DirectSocket):
    """WebSocket that takes the place of its HTTP connection in the limits."""

    open_connections: Connections | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Uvicorn logs each handshake with its query string, which may contain a ticket. Our access log leaves it out.
        self.logger = self.conn.logger = _logger

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]
        await super().run_asgi()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            # Otherwise uvicorn logs each refusal as an error of the application.
            self.handshake_complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.open_connections is not None:
            self.open_connections.remove(self)

    def evict(self) -> None:
        """Close the connection at once; a WebSocket is never idle."""
        self.transport.abort()
