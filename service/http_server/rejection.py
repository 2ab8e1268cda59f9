"""HTTP connection that can reject a request before the application sees it."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.origins.cors import CrossOrigin
from service.api.problem_handlers import problem_response
from service.http_server.asgi_wrappers import reject_overload
from service.http_server.connections import Connections
from service.http_server.limits import HttpLimits
from service.metrics.traffic import EVICTED
from service.problems import Problem

DISCARDED_BYTES = 128 * 2**20
"""How much of a rejected request is read and discarded, so that its sender gets to read the response."""

_BODILESS = ("GET", "HEAD")

Headers = Sequence[tuple[bytes, bytes]]


class Expected(Enum):
    """What the client has to send next."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class ResponseTransport:
    """The part of a transport that a response uses, with another way to close it."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class RejectingHttpProtocol(HttpToolsProtocol):
    """Connection that can be rejected: after the responses to earlier requests it is closed."""

    _has_ended = False  # the client sends no more

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
        open_connections: Connections,
        cross_origin: CrossOrigin,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._cross_origin = cross_origin
        self._overload_app = cross_origin.wrap(reject_overload)
        self._limits = limits
        self._connections = open_connections
        self._expected = Expected.NOTHING
        self._rejection: Problem | None = None
        self._closes_at: float | None = None
        self._discarded = 0
        self._running: RequestResponseCycle | None = None  # the request that is being answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._running = cycle
        if cycle.scope["method"] not in _BODILESS:
            transport = ResponseTransport(self.transport, self._close_after_response)
            cycle.transport = transport  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_requests()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that sends no more until what has arrived is answered.

        A stream ends: its client has most likely gone.
        """
        if self._expected is Expected.BODY or not self._is_answering() or self._sends_stream():
            self._leave_requests()
            return False
        self._has_ended = True
        if self._rejection is None:
            self.cycle.keep_alive = False
        return True

    def _sends_stream(self) -> bool:
        """Tell whether a response is being sent that has no length."""
        cycle = self._running
        if cycle is None or not cycle.response_started or cycle.response_complete:
            return False
        return bool(cycle.chunked_encoding) or cycle.expected_content_length == 0

    def _leave_requests(self) -> None:
        """Tell the application that the client has disconnected, and start no further request."""
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def _end_with(self, cycle: RequestResponseCycle) -> None:
        """Close the connection after the response to a request."""
        cycle.keep_alive = False
        if cycle.response_complete:
            self.transport.close()

    def evict(self) -> None:
        """Close the idle connection to free its slot."""
        self._count_rejection(EVICTED)
        self.transport.abort()

    def on_response_complete(self) -> None:
        if (cycle := self._newest()) is not None and cycle.response_complete:
            cycle.transport = self.transport  # without a cycle of references
        if self._closes_at is not None:
            self.pipeline.clear()  # nothing that follows the last request is served
        super().on_response_complete()
        if self._is_answering() or self.transport.is_closing():
            return
        if self._expected is not Expected.NOTHING:
            self._unset_keepalive_if_required()  # the next request has begun to arrive
        if self._rejection is not None:
            self._unset_keepalive_if_required()
            self._send_rejection(self._rejection)
        else:
            self._connections.finish_requests(self)

    def _reject(self, problem: Problem) -> None:
        """Stop reading, and respond with a problem once all earlier requests are answered."""
        if self._rejection is not None:
            return
        self._rejection = problem
        self._count_rejection(problem.code)
        can_send_now = not self._is_answering()
        if self._expected is Expected.BODY and (cycle := self._newest()):
            can_send_now = not self._cancel_request(cycle)
            if cycle.response_started:
                self._close_gracefully()
                return
        if can_send_now:
            self._send_rejection(problem)

    def _count_rejection(self, reason: str) -> None:
        """Count what no route gets to see; an application may have no metrics."""
        if (metrics := self.app_state.get("metrics")) is not None:
            metrics.requests.rejected.labels(reason).inc()

    def _cancel_request(self, cycle: RequestResponseCycle) -> bool:
        """Tell the application that the client has disconnected.

        Returns True if the request was still queued.
        """
        cycle.disconnected = True
        cycle.message_event.set()
        is_queued = any(queued is cycle for queued, _ in self.pipeline)
        self.pipeline = deque(entry for entry in self.pipeline if entry[0] is not cycle)
        return is_queued

    def _send_rejection(self, problem: Problem) -> None:
        self._write_problem(problem)
        self._close_gracefully()

    def _write_problem(self, problem: Problem) -> None:
        response = problem_response(problem, "")
        origin = next(
            (value.decode("latin-1") for name, value in self.headers or () if name == b"origin"), None
        )
        headers = [*response.raw_headers, *self._cross_origin.list_headers(origin)]
        self._write_response(problem.status, headers, bytes(response.body), closes=True)

    def _write_response(self, status: int, headers: Headers, body: bytes, *, closes: bool) -> None:
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        if closes:
            lines.append(b"connection: close\r\n")
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))

    def _close_after_response(self) -> None:
        """Close the connection; the rest of a request that was answered before its end is read for a moment."""
        if self._expected is Expected.BODY and not self.transport.is_closing():
            self._close_gracefully()
        else:
            self.transport.close()

    def _close_gracefully(self) -> None:
        """Half-close the connection and read on for a moment.

        A close with unread bytes would reset the connection, and the client could lose the response.
        """
        self._closes_at = self.loop.time() + self._limits.linger_seconds
        self._connections.finish_requests(self)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > DISCARDED_BYTES:
            self.transport.abort()

    def _is_answering(self) -> bool:
        cycle = self._newest()
        return cycle is not None and not cycle.response_complete

    def _newest(self) -> RequestResponseCycle | None:
        """Return the newest request, if any; uvicorn's type says that there is always one."""
        return self.cycle
