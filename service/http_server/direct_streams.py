"""Offer connections to streams that write to them directly, as an extension of ASGI."""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode

from service.api.streaming.direct import DirectStream, Message
from service.api.streaming.event_stream import KEEP_ALIVE

_PING = b"framehook"


class DirectConnection(asyncio.Protocol):
    """Base of a protocol of uvicorn: informs a stream of what happens to the connection that it uses."""

    transport: asyncio.Transport
    stream: DirectStream | None = None

    def attach(self, stream: DirectStream) -> None:
        """Tell the stream from now on what happens to the connection."""
        self.stream = stream
        if self.transport.is_closing():
            stream.lose()

    def take_over(self) -> None:
        """Go on without the application, and pause the stream at the first unsent byte."""
        if not self.transport.is_closing():
            self.transport.set_write_buffer_limits(0)

    def detach(self) -> None:
        """Serve the connection in the usual way again."""
        self.stream = None
        if not self.transport.is_closing():
            self.transport.set_write_buffer_limits()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.stream is not None:
            self.stream.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.stream is not None:
            self.stream.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.stream is not None:
            self.stream.lose()


class DirectEventStream(DirectConnection, HttpToolsProtocol):
    """A connection that carries a response without a length, in chunks."""

    _streamed: RequestResponseCycle

    @staticmethod
    def encode(text: bytes) -> bytes:
        """Return the text as a chunk (RFC 9112, section 7.1)."""
        return b"%x\r\n%b\r\n" % (len(text), text)

    def take_over(self) -> None:
        super().take_over()
        # Otherwise uvicorn reports that the application has not completed it.
        self._streamed.disconnected = True

    def keep_alive(self) -> None:
        """Write a comment."""
        self.transport.write(self.encode(b"".join(KEEP_ALIVE)))

    def end_response(self) -> None:
        """Write the end of the response; the connection may serve the next request."""
        self.transport.write(b"0\r\n\r\n")
        self._streamed.response_complete = True
        if not self._streamed.keep_alive:
            self.transport.close()
        self.on_response_complete()


class DirectSocket(DirectConnection, WebSocketsSansIOProtocol):
    """A WebSocket, on which uvicorn goes on to read frames and to answer pings and close frames."""

    def attach(self, stream: DirectStream) -> None:
        super().attach(stream)
        self.stop_keepalive()
        self.pass_messages()

    def take_over(self) -> None:
        super().take_over()
        # Uvicorn closes the connection after the application unless a timer waits for the client's close frame.
        self.close_timer = self.loop.call_later(0, lambda: None)

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

    def keep_alive(self) -> None:
        """Ping the client; close the connection if the last ping was not answered."""
        if self.pending_ping_payload is not None:
            self.keepalive_timeout()
            return
        self.pending_ping_payload, self.ping_sent_at = _PING, self.loop.time()
        self.conn.send_ping(_PING)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def send_receive_event_to_app(self) -> None:
        super().send_receive_event_to_app()
        self.pass_messages()

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self.pass_messages()

    def pass_messages(self) -> None:
        """Pass what the client sent to the stream, and read on."""
        while self.stream is not None and not self.queue.empty():
            self.stream.receive(cast(Message, self.queue.get_nowait()))
        if self.stream is not None and self.read_paused and self.writable.is_set():
            self.read_paused = False
            self.transport.resume_reading()
