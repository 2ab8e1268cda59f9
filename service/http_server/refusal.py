"""An HTTP connection that can refuse what comes before the application sees it."""

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.problem_handlers import problem_response
from service.http_server.connections import Connections
from service.http_server.limits import HttpLimits
from service.problems import Problem

DISCARDED_BYTES = 128 * 2**20
"""What is read and thrown away of a refused request, so that its sender gets to read the answer."""


class Part(Enum):
    """What a client has to send next."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()


class RefusingHttpProtocol(HttpToolsProtocol):
    """One connection: a refusal waits until earlier requests are answered, and is the last thing that is sent."""

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
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._open = open_connections
        self._part = Part.NOTHING
        self._refusal: Problem | None = None
        self._closes_at: float | None = None
        self._discarded = 0

    def evict(self) -> None:
        """Close a connection that waits for a request: its place is needed."""
        self.transport.abort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answering() or self.transport.is_closing():
            return
        if self._part is not Part.NOTHING:
            self._unset_keepalive_if_required()  # the next request has begun to come
        if self._refusal is not None:
            self._unset_keepalive_if_required()
            self._send_refusal(self._refusal)
        else:
            self._open.finish_requests(self)

    def _refuse(self, problem: Problem) -> None:
        """Read nothing more, and answer with a problem once all requests before this one are answered."""
        if self._refusal is not None:
            return
        self._refusal = problem
        is_in_turn = not self._is_answering()
        if self._part is Part.BODY and (cycle := self._newest()):
            is_in_turn = not self._withdraw_request(cycle)
            if cycle.response_started:
                self._close_slowly()
                return
        if is_in_turn:
            self._send_refusal(problem)

    def _withdraw_request(self, cycle: RequestResponseCycle) -> bool:
        """Tell the application that the client of a request is gone; True if it had not begun with it."""
        cycle.disconnected = True
        cycle.message_event.set()
        is_queued = any(queued is cycle for queued, _ in self.pipeline)
        self.pipeline = deque(entry for entry in self.pipeline if entry[0] is not cycle)
        return is_queued

    def _send_refusal(self, problem: Problem) -> None:
        self._write_problem(problem)
        self._close_slowly()

    def _write_problem(self, problem: Problem) -> None:
        response = problem_response(problem, "")
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
        lines = [b"%b: %b\r\n" % each for each in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", bytes(response.body)]))

    def _close_slowly(self) -> None:
        """End our side, and read on for a moment: closing on unread bytes would take the answer back."""
        self._closes_at = self.loop.time() + self._limits.linger_seconds
        self._open.finish_requests(self)
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
        """Return the newest request, answered or not; uvicorn's type says that there is always one."""
        return self.cycle
