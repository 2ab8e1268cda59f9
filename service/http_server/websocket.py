"""The WebSocket protocol of the server: counted in its limits, and offered to streams."""

import logging
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import STATUS_PHRASES
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame
from websockets.http11 import Response

from service.api.problem_handlers import internal_error, problem_response
from service.api.streaming.direct import EXTENSION
from service.http_server.connections import Connections
from service.http_server.direct_streams import DirectSocket
from service.problems import Problem

MAX_FRAGMENTS: Final = 1_024
"""Of one message, so that empty ones take no memory without end."""

_logger = logging.getLogger("uvicorn.error.websocket")
_logger.setLevel(logging.WARNING)
# Uvicorn logs it with a traceback, as if it was an error of the service; the client gets the code of the close.
_logger.addFilter(lambda record: not str(record.msg).startswith("Invalid UTF-8 sequence"))


class InvalidHandshake(Problem):
    title = "The handshake of the WebSocket is not valid."
    status = 400
    code = "invalid_handshake"


class CountedWebSocket(DirectSocket):
    """WebSocket that takes the place of its HTTP connection in the limits."""

    open_connections: Connections | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Uvicorn logs each handshake with its query string, which may contain a ticket. Our access log leaves it out.
        self.logger = self.conn.logger = _logger
        self.conn.reject = self._refuse  # type: ignore[method-assign]

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]
        await super().run_asgi()

    @staticmethod
    def _refuse(status: int, text: str) -> Response:
        """Return the response to a handshake that `websockets` refuses, in the form of all others."""
        is_ours = status >= internal_error().status
        versions = {"Sec-WebSocket-Version": "13", "Connection": "close"}
        problem = internal_error() if is_ours else InvalidHandshake(text.strip(), headers=versions)
        answer = problem_response(problem, "")
        return Response(
            answer.status_code,
            STATUS_PHRASES[answer.status_code],
            Headers(answer.headers),
            bytes(answer.body),
        )

    def pause_writing(self) -> None:
        """Read no more: a client that takes no pongs would fill the memory with its pings."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.pass_messages()
        if not self.read_paused:
            self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.send_close(CloseCode.MESSAGE_TOO_BIG)
            self.handle_parser_exception()

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
