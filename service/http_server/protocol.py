"""Limit the size of requests and the time that clients take for them.

A head is limited in bytes and fields and must be complete within a time; a body must not stall. A client that exceeds
a limit gets a problem response, and its connection is closed. Timeouts are checked by the server once a second: a
timer per request would cost more.
"""

import asyncio

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.api.streaming.direct import EXTENSION
from service.http_server.asgi_wrappers import close_delimited, close_unless_continued
from service.http_server.connections import address_group
from service.http_server.direct_streams import DirectEventStream
from service.http_server.rejection import Expected
from service.http_server.request_heads import check_head
from service.http_server.upgrades import UpgradingHttpProtocol
from service.problems import HeadTooLarge, MalformedRequest, Problem, RequestTimeout, TooManyConnections

ESSENTIAL_PATHS = (b"/api/callbacks/", b"/healthz", b"/readyz", b"/metrics")


class BoundedHttpProtocol(DirectEventStream, UpgradingHttpProtocol):
    """One connection whose client must keep to the limits."""

    _address = ""
    _idle_bytes = 0  # received since the last byte of a body, or the last end of a head or a message
    _has_progressed = False
    _is_large = False
    _fields = 0  # of the head and the trailers of a request
    _waiting_since: float | None = None  # the time at which waiting for `_expected` began

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = address_group(self.client[0] if self.client else "")
        self._waiting_since = self.loop.time()
        if not self._connections.admit(self, self._address):
            self._rejection = TooManyConnections()
            self._count_rejection(self._rejection.code)
            self._write_problem(self._rejection)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connections.remove(self)

    # Receive

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._rejection is not None or self._closes_at is not None:
            self._discard(len(data))
            return
        if self._expected is Expected.NOTHING:
            self._waiting_since = None
        self._has_progressed = False
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            self.handle_websocket_upgrade()
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._reject(cause if isinstance(cause, Problem) else MalformedRequest())
        self._update_clock()

    def _feed(self, data: bytes) -> None:
        """Pass the parser no more at a time than a head may still have; reject the excess."""
        if len(data) < self._limits.head_bytes - self._idle_bytes:
            self._is_large = False
            self._feed_slice(data)
            return
        self._is_large = True
        rest = memoryview(data)
        while rest and self._rejection is None:
            size = self._limits.head_bytes - self._idle_bytes
            self._feed_slice(rest[:size])
            rest = rest[size:]

    def _feed_slice(self, data: bytes | memoryview) -> None:
        before, self._idle_bytes = self._idle_bytes, 0
        had_progressed, self._has_progressed = self._has_progressed, False
        self._parse(data)
        if not self._has_progressed:
            self._idle_bytes = before + len(data)
            self._has_progressed = had_progressed
            if self._idle_bytes >= self._limits.head_bytes:
                self._reject(HeadTooLarge(f"The request head is limited to {self._limits.head_bytes} bytes."))

    def _update_clock(self) -> None:
        """Start the clock when the client has to send something, and stop it when it has not."""
        if self._expected is Expected.NOTHING and self._idle_bytes:
            self._expected = Expected.HEAD  # empty lines before a request
        if self._expected is Expected.NOTHING:
            self._waiting_since = None
        elif self._has_progressed or self._waiting_since is None:
            self._waiting_since = self.loop.time()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expected = Expected.HEAD
        self._fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > self._limits.fields:
            raise HeadTooLarge(f"The request head is limited to {self._limits.fields} fields.")
        # A trailer must not pass for a field of the head (RFC 9110, section 6.5).
        if self._expected is Expected.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_progressed = True
        if self._is_large and self._head_bytes() > self._limits.head_bytes:
            raise HeadTooLarge(f"The request head is limited to {self._limits.head_bytes} bytes.")
        check_head(self.parser.get_method(), self.parser.get_http_version(), self.headers)
        self._check_upgrade()
        if self._ignores_upgrade:
            return
        self._expected = Expected.BODY
        is_essential = self.url.startswith(ESSENTIAL_PATHS)
        is_accepted = self._connections.start_request(self, self._address, is_essential=is_essential)
        self.app = self.config.loaded_app if is_accepted else self._overload_app
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # such a client does not know of it
        super().on_headers_complete()
        if self._connections.is_reserved(self) and (cycle := self._newest()):
            cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_progressed = True
        if self._ignores_upgrade:
            return
        self._expected = Expected.NOTHING
        if not self._upgrades and not self.parser.should_keep_alive():
            self._end_with(self.cycle)  # a trailer may say it, too
        super().on_message_complete()

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + 4 for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + fields

    # Respond

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if app is self._overload_app:
            self._count_rejection(TooManyConnections.code)
        if cycle.scope["http_version"] == "1.0":
            app = close_delimited(app, cycle)
        elif cycle.scope["method"] == "GET":
            self._streamed = cycle
            cycle.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]
        if cycle.waiting_for_100_continue:
            app = close_unless_continued(app, cycle)
        super()._start_asgi_task(cycle, app)

    # Timeouts

    def check_timeout(self, now: float) -> None:
        """Reject a client that has exceeded a timeout; called once a second."""
        if self._closes_at is not None:
            if now >= self._closes_at:
                self.transport.abort()
        elif self._has_ended and self._sends_stream():
            self._leave_requests()
            self.transport.close()
        elif self._waiting_since is None or self._rejection is not None:
            return
        elif self._waits_for_us():
            self._waiting_since = now
        elif self._expected is Expected.BODY:
            if now - self._waiting_since >= self._limits.body_seconds:
                self._reject(
                    RequestTimeout(f"No data of the body arrived for {self._limits.body_seconds:g} seconds.")
                )
        elif now - self._waiting_since >= self._limits.head_seconds:
            self._reject_late_head()

    def restart_clock(self, now: float) -> None:
        """Restart the client's clock after a stall, in which nothing that it sent was read."""
        if self._waiting_since is not None:
            self._waiting_since = now

    def _reject_late_head(self) -> None:
        if self._expected is Expected.HEAD:
            self._reject(
                RequestTimeout(
                    f"The request head was not complete within {self._limits.head_seconds:g} seconds."
                )
            )
        else:
            self.transport.abort()  # it has sent nothing and expects no response

    def _waits_for_us(self) -> bool:
        """Tell whether the client waits for this side, so that its clock must not run."""
        if self.flow.read_paused:
            return True
        if self._expected is Expected.BODY:
            return self.cycle.waiting_for_100_continue and not self.cycle.response_started
        return self._is_answering()
