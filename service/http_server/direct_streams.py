"""Offer connections to streams that write to them directly, as an extension of ASGI."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.streaming.direct import DirectStream
from service.api.streaming.event_stream import KEEP_ALIVE, KEEP_ALIVE_SECONDS
from service.fanout.broadcast import Write


class DirectConnection(asyncio.Protocol):
    """Base of a protocol of uvicorn: informs a stream of what happens to the connection that it uses."""

    transport: asyncio.Transport
    stream: DirectStream | None = None

    @property
    def write(self) -> Write:
        """The method of the transport."""
        return self.transport.write

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
    _quiet_seconds = 0

    @staticmethod
    def encode(text: bytes) -> bytes:
        """Return the text as a chunk (RFC 9112, section 7.1)."""
        return b"%x\r\n%b\r\n" % (len(text), text)

    def take_over(self) -> None:
        super().take_over()
        self._streamed.disconnected = (
            True  # otherwise uvicorn reports that the application has not completed it
        )

    def tick(self, *, is_quiet: bool) -> None:
        """Write a comment after some seconds without an event."""
        self._quiet_seconds = self._quiet_seconds + 1 if is_quiet else 0
        if self._quiet_seconds >= KEEP_ALIVE_SECONDS:
            self._quiet_seconds = 0
            self.transport.write(_KEEP_ALIVE_CHUNK)

    def end_response(self) -> None:
        """Write the end of the response; the connection may serve the next request."""
        self.transport.write(b"0\r\n\r\n")
        self._streamed.response_complete = True
        if not self._streamed.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def abort(self) -> None:
        """Close the connection without sending what it holds."""
        self.transport.abort()


_KEEP_ALIVE_CHUNK = DirectEventStream.encode(b"".join(KEEP_ALIVE))
