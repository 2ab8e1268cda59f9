"""Short requests that a connection hands to the application whole, and whose response it writes at once.

For a callback of 600 bytes, most of what ASGI costs is its form: a task, an event, four messages, and a write for the
head and another for the body. An application takes such requests with `app.state.direct_app`. All limits on heads,
bodies and connections apply as to any other request. What is unusual (HTTP/1.0, `Expect: 100-continue`, a client that
does not read its responses) goes to the same route by ASGI.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.http_server.rejection import Headers, RejectingHttpProtocol

Respond = Callable[[int, Headers, bytes], None]
"""Sends a response: its status, headers with the length of the body, and body."""


class DirectApp(Protocol):
    """The part of an application that takes whole requests."""

    max_body_bytes: int

    def accepts(self, scope: Any) -> bool:
        """Tell whether it handles the request with this head."""
        ...

    def handle(self, scope: Any, body: bytes, respond: Respond) -> Coroutine[Any, Any, None] | None:
        """Handle a request, and call `respond` once, now or later; return what has to run for it as a task.

        A body of more than `max_body_bytes` is handed over as soon as it is that long.
        """
        ...


class DirectHttpProtocol(RejectingHttpProtocol):
    """Connection that hands short requests to the application without ASGI."""

    _receiving: RequestResponseCycle | None = None  # the request whose body is awaited for `_direct_app`

    def __init__(self, *args: Any, direct_app: DirectApp | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._direct_app = direct_app

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        cycle = self._receiving
        if cycle is not None and self._direct_app and len(cycle.body) > self._direct_app.max_body_bytes:
            self._handle_directly(cycle)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._receiving is not None:
            self._handle_directly(self._receiving)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if not self._takes_directly(cycle, app):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._receiving = cycle
        else:  # it was queued behind another; a call from here would nest as deep as the queue is long
            self.loop.call_soon(self._handle_directly, cycle)

    def _takes_directly(self, cycle: RequestResponseCycle, app: ASGIApp) -> bool:
        return (
            self._direct_app is not None
            and app is self.config.loaded_app
            and self._direct_app.accepts(cycle.scope)
            and cycle.scope["http_version"] == "1.1"
            and not cycle.waiting_for_100_continue
            and not self.flow.write_paused
        )

    def _handle_directly(self, cycle: RequestResponseCycle) -> None:
        self._receiving = None
        if self._direct_app is not None and not cycle.disconnected:
            work = self._direct_app.handle(cycle.scope, bytes(cycle.body), partial(self._respond, cycle))
            if work is not None:
                task = self.loop.create_task(work)
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)

    def _respond(self, cycle: RequestResponseCycle, status: int, headers: Headers, body: bytes) -> None:
        """Write a response in one piece, and record it in the cycle as uvicorn does."""
        if cycle.disconnected or self.transport.is_closing():
            return
        self._write_response(status, headers, body, closes=not cycle.keep_alive)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self._close_after_response()
        self.on_response_complete()
