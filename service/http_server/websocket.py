"""The WebSocket protocol of the server: counted, and offered to streams that write to it directly."""

import asyncio
import logging
from typing import Any, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

from service.api.streaming.direct import EXTENSION, DirectStream, Message
from service.http_server.connections import Connections
from service.http_server.direct_streams import DirectConnection

PING_SECONDS = 20
"""How often a client is pinged on the fast road, and how long it may take to answer."""
_PING = b"framehook"

_logger = logging.getLogger("uvicorn.error.websocket")
_logger.setLevel(logging.WARNING)


class _NoTimer:
    def cancel(self) -> None:
        """Do nothing."""


class CountedWebSocket(DirectConnection, WebSocketsSansIOProtocol):
    """WebSocket that takes the place of its HTTP connection in the limits."""

    open_connections: Connections | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Uvicorn logs each handshake with its query string, which may contain a ticket. Our access log leaves it out.
        self.logger = self.conn.logger = _logger
        self._seconds = 0

    async def run_asgi(self) -> None:
        self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]
        await super().run_asgi()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = (
                True  # otherwise uvicorn logs each refusal as an error of the application
            )

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.open_connections is not None:
            self.open_connections.remove(self)

    def evict(self) -> None:
        """Close the connection at once; a WebSocket is never idle."""
        self.transport.abort()

    # The fast road

    def attach(self, stream: DirectStream) -> None:
        super().attach(stream)
        self.stop_keepalive()
        self._pass_messages()

    def take_over(self) -> None:
        super().take_over()
        # Uvicorn closes the connection after the application unless it waits for the client's close frame.
        self.close_timer = cast(asyncio.TimerHandle, _NoTimer())

    def close(self, code: int) -> None:
        """Send a close frame, and wait for that of the client for a while."""
        if self.transport.is_closing() or self.close_sent:
            return
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    @staticmethod
    def encode(text: bytes) -> bytes:
        """Return the text as a message in one frame."""
        return Frame(Opcode.TEXT, text).serialize(mask=False)

    def tick(self, *, is_quiet: bool) -> None:  # noqa: ARG002 - a ping also finds clients that are gone
        """Ping the client now and then; close the connection if the last ping was not answered."""
        self._seconds += 1
        if self._seconds < PING_SECONDS:
            return
        self._seconds = 0
        if self.pending_ping_payload is not None:
            self.keepalive_timeout()
            return
        self.pending_ping_payload, self.ping_sent_at = _PING, self.loop.time()
        self.conn.send_ping(_PING)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def send_receive_event_to_app(self) -> None:
        super().send_receive_event_to_app()
        self._pass_messages()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._pass_messages()

    def _pass_messages(self) -> None:
        """Pass what the client sent to the stream, and read on."""
        while self.stream is not None and not self.queue.empty():
            self.stream.receive(cast(Message, self.queue.get_nowait()))
        if self.stream is not None and self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
