"""A span of each request to the API. What the request creates belongs to it."""

import re
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.telemetry import REQUEST_ID

if TYPE_CHECKING:
    from service.tracing.tracer import TracedSpan, Tracing

TRACED: Final = "/api/"
NOT_TRACED: Final = "/api/callbacks/"
"""Reports come several times a second; their phases are spans of the export."""
SERVER_ERROR: Final = 500
_HEADER: Final = b"traceparent"
_USABLE: Final = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class TracedRequests:
    """Middleware that continues the trace of a request, or begins one.

    The application sees the span as the `traceparent` of the request. So an export, its run and its webhooks belong to
    the request, in whichever replica they happen.
    """

    def __init__(self, app: ASGIApp, tracing: "Tracing") -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not path.startswith(TRACED) or path.startswith(NOT_TRACED):
            await self._app(scope, receive, send)
            return
        method: str = scope["method"]
        attributes = {"http.request.method": method, "framehook.request_id": REQUEST_ID.get() or ""}
        with self._tracing.span(method, find_traceparent(scope), attributes, kind="server") as span:
            others = [(name, value) for name, value in scope["headers"] if name != _HEADER]
            scope["headers"] = [*others, (_HEADER, span.traceparent.encode())]

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    _note_response(span, scope, message["status"])
                await send(message)

            await self._app(scope, receive, send_and_note)


def trace_requests(app: ASGIApp, tracing: "Tracing | None") -> ASGIApp:
    """Return an application whose requests are traced, or the same one if nothing is."""
    return app if tracing is None else TracedRequests(app, tracing)


def find_traceparent(scope: Scope) -> str | None:
    """Return the header of a request; None if it has none that can be used."""
    for name, value in scope["headers"]:
        if name == _HEADER and _USABLE.fullmatch(value):
            return str(value.decode("ascii"))
    return None


def find_pattern(scope: Scope) -> str | None:
    """Return the pattern of the path, for a path itself has ids in it; None for one that has no route."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    return next((route.path for route in scope["app"].routes if route.endpoint is endpoint), None)


def _note_response(span: "TracedSpan", scope: Scope, status: int) -> None:
    if pattern := find_pattern(scope):
        span.rename(f"{scope['method']} {pattern}")
        span.set({"http.route": pattern})
    span.set({"http.response.status_code": status})
    if status >= SERVER_ERROR:
        span.fail(str(status))
