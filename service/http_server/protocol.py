"""HTTP/1 by uvicorn, with bounds on what a client may send and how long it may take for that.

A head has a limit in bytes and in fields, and has to come whole within a time; a body has to go on. What a client
sends beyond that is answered with a problem and closed. Times are checked by the server's clock, once a second, and
not by a timer for each request.
"""

import asyncio
from typing import Any

import httptools
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from service.http_server.asgi_wrappers import close_delimited, refuse_overload
from service.http_server.connections import Connections, CountedWebSocket, address_group
from service.http_server.limits import HttpLimits
from service.http_server.refusal import Part, RefusingHttpProtocol
from service.problems import HeadTooLarge, MalformedRequest, Problem, RequestTimeout, TooManyConnections

ESSENTIAL_PATHS = (b"/api/callbacks/", b"/healthz", b"/readyz")


class BoundedHttpProtocol(RefusingHttpProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
        open_connections: Connections,
    ) -> None:
        super().__init__(
            config, server_state, app_state, _loop, limits=limits, open_connections=open_connections
        )
        self._source = ""
        self._idle_bytes = 0  # received since the last byte of a body, or the last end of a head or a message
        self._has_advanced = False
        self._is_large = False
        self._since: float | None = None  # how long `_part` has been waited for

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._source = address_group(self.client[0] if self.client else "")
        self._since = self.loop.time()
        if not self._open.enter(self, self._source):
            self._refusal = TooManyConnections()
            self._write_problem(self._refusal)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._open.leave(self)

    # What arrives

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refusal is not None:
            self._discard(len(data))
            return
        if self._part is Part.NOTHING:
            self._since = None
        self._has_advanced = False
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Problem) else MalformedRequest())
        self._note_time()

    def _feed(self, data: bytes) -> None:
        """Give the parser no more at a time than a head may still have; what is over that is refused."""
        if len(data) < self._limits.head_bytes - self._idle_bytes:
            self._is_large = False
            self._feed_slice(data)
            return
        self._is_large = True
        rest = memoryview(data)
        while rest and self._refusal is None:
            size = self._limits.head_bytes - self._idle_bytes
            self._feed_slice(rest[:size])
            rest = rest[size:]

    def _feed_slice(self, data: bytes | memoryview) -> None:
        before, self._idle_bytes = self._idle_bytes, 0
        had_advanced, self._has_advanced = self._has_advanced, False
        self.parser.feed_data(data)
        if not self._has_advanced:
            self._idle_bytes = before + len(data)
            self._has_advanced = had_advanced
            if self._idle_bytes >= self._limits.head_bytes:
                self._refuse(HeadTooLarge(f"A head may have {self._limits.head_bytes} bytes."))

    def _note_time(self) -> None:
        """Start the clock where something new is waited for, and stop it where nothing is."""
        if self._part is Part.NOTHING and self._idle_bytes:
            self._part = Part.HEAD  # line ends before a request
        if self._part is Part.NOTHING:
            self._since = None
        elif self._has_advanced or self._since is None:
            self._since = self.loop.time()

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = Part.HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self._limits.fields:
            raise HeadTooLarge(f"A head may have {self._limits.fields} fields.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_advanced = True
        if self._is_large and self._head_bytes() > self._limits.head_bytes:
            raise HeadTooLarge(f"A head may have {self._limits.head_bytes} bytes.")
        self._part = Part.BODY
        is_essential = self.url.startswith(ESSENTIAL_PATHS)
        is_taken = self._open.start_request(self, self._source, is_essential=is_essential)
        self.app = self.config.loaded_app if is_taken else refuse_overload
        super().on_headers_complete()
        if self._open.is_reserved(self) and (cycle := self._newest()):
            cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._has_advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_advanced = True
        self._part = Part.NOTHING
        super().on_message_complete()

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + fields

    # Answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if cycle.scope["http_version"] == "1.0":
            app = close_delimited(app, cycle)
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def handle_websocket_upgrade(self) -> None:
        if self.app is refuse_overload:
            self._part = Part.NOTHING
            self._refuse(TooManyConnections())
            return
        super().handle_websocket_upgrade()
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, CountedWebSocket)
        protocol.on_lost = lambda: self._open.leave(self)

    # Time

    def check_timeout(self, now: float) -> None:
        """Refuse a client that takes too long; to be called once in a while."""
        if self._closes_at is not None:
            if now >= self._closes_at:
                self.transport.abort()
        elif self._since is None or self._refusal is not None:
            return
        elif self._is_held_up():
            self._since = now
        elif self._part is Part.BODY:
            if now - self._since >= self._limits.body_seconds:
                self._refuse(
                    RequestTimeout(f"Nothing came of the body for {self._limits.body_seconds:g} seconds.")
                )
        elif now - self._since >= self._limits.head_seconds:
            self._end_late_head()

    def restart_clock(self, now: float) -> None:
        """Give a client its time anew: this process stood still, and has not read what was sent."""
        if self._since is not None:
            self._since = now

    def _end_late_head(self) -> None:
        if self._part is Part.HEAD:
            self._refuse(
                RequestTimeout(f"The head did not come whole within {self._limits.head_seconds:g} seconds.")
            )
        else:
            self.transport.abort()  # it never sent anything, and expects no answer

    def _is_held_up(self) -> bool:
        """Whether it is us whom the client waits for."""
        if self.flow.read_paused:
            return True
        if self._part is Part.BODY:
            return self.cycle.waiting_for_100_continue and not self.cycle.response_started
        return self._is_answering()
