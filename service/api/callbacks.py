"""`POST /api/callbacks/{job_id}`: apply a signed callback and answer after its commit.

Every progress report of every export comes through here, so the connection calls `handle` without ASGI.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypedDict

from starlette.types import ASGIApp, Receive, Scope, Send

from callbacks.envelope import MAX_BODY_BYTES, Callback
from infra.database.errors import DATABASE_ERRORS
from infra.storage import StorageError
from service.api.openapi.operations import Body, Credential, Tag, declare_operation
from service.api.openapi.parameters import SIGNATURE_HEADERS
from service.api.problem_handlers import internal_error, problem_response
from service.api.signed_callbacks import is_callback, parse_callback
from service.ingest.batch_writer import WriterStopped
from service.ingest.changes import Applied, Change, Outcome, Refusal
from service.problems import AttemptOver, NotFound, Problem, StillFinalizing, Unavailable, WrongClock

logger = logging.getLogger("framehook.callbacks")

Response = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""
Respond = Callable[[int, Sequence[tuple[bytes, bytes]], bytes], None]

_REFUSALS: dict[Refusal, Callable[[], Problem]] = {
    Refusal.UNKNOWN: lambda: NotFound("The export does not exist."),
    Refusal.OVER: AttemptOver,
    Refusal.HELD: StillFinalizing,
}
TEMPORARY_ERRORS = (*DATABASE_ERRORS, StorageError, WriterStopped)
"""Errors that kept a callback from being stored; the run sends it again."""
_JSON_TYPE = (b"content-type", b"application/json")


class Accepted(TypedDict):
    """The callback is stored: `sequence` is the number of the export's last change."""

    sequence: int


@declare_operation(
    "report_progress",
    Tag.RUNS,
    credential=Credential.RUN,
    body=Body(Callback),
    headers=SIGNATURE_HEADERS,
    answers={200: Accepted},
    problems=(AttemptOver, StillFinalizing, WrongClock),
)
class Callbacks:
    """`POST /api/callbacks/{job_id}`, from `service.http_server.direct` or by ASGI."""

    max_body_bytes = MAX_BODY_BYTES

    def accepts(self, scope: Scope) -> bool:
        """Tell whether a request is a callback."""
        return is_callback(scope)

    def handle(self, scope: Scope, body: bytes, respond: Respond) -> Coroutine[Any, Any, None] | None:
        """Apply a callback and respond after its commit.

        The end of an attempt takes longer; it is left to the coroutine that this returns.
        """
        started = time.perf_counter()
        try:
            change = parse_callback(scope, body)
        except Exception as error:  # noqa: BLE001 - no middleware handles errors here
            _respond(scope, respond, started, error)
            return None
        if change.ends_attempt:
            return _end_attempt(scope, change, respond, started)
        scope["state"]["writer"].enqueue(change, partial(_respond, scope, respond, started))
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return
        response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        work = self.handle(
            scope, body, lambda *parts: None if response.done() else response.set_result(parts)
        )
        if work is not None:
            await work
        status, headers, content = await response
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class CallbackFastPath:
    """Passes callbacks by all middleware and the router.

    Measured, those cost as much as the rest of a callback. This is safe: the signature covers what they check.
    """

    def __init__(self, app: ASGIApp, callbacks: Callbacks) -> None:
        self._app = app
        self._callbacks = callbacks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_callback(scope):
            await self._callbacks(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or the first part of it that is too large; None if the client disconnects before its end."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES or not message.get("more_body", False):
            return body


async def _end_attempt(scope: Scope, change: Change, respond: Respond, started: float) -> None:
    outcome: Outcome | Exception
    try:
        outcome = await scope["state"]["finalizer"].apply(change)
    except Exception as error:  # noqa: BLE001 - no middleware handles errors here
        outcome = error
    _respond(scope, respond, started, outcome)


def _respond(scope: Scope, respond: Respond, started: float, outcome: Outcome | Exception) -> None:
    response = _render_error(outcome, scope) if isinstance(outcome, Exception) else _render(outcome, scope)
    scope["state"]["metrics"].callbacks.count(response[0], time.perf_counter() - started)
    respond(*response)


def _render(outcome: Outcome, scope: Scope) -> Response:
    if isinstance(outcome, Applied) and outcome.stops_run:
        return _render_problem(AttemptOver(), scope)
    if isinstance(outcome, Applied):
        body = b'{"sequence":%d}' % outcome.sequence
        return 200, [_JSON_TYPE, (b"content-length", b"%d" % len(body))], body
    return _render_problem(_REFUSALS[outcome](), scope)


def _render_error(error: Exception, scope: Scope) -> Response:
    if isinstance(error, Problem):
        return _render_problem(error, scope)
    if isinstance(error, TEMPORARY_ERRORS):
        logger.error("a callback could not be stored: %s", type(error).__name__, exc_info=error)
        return _render_problem(Unavailable(), scope)
    logger.error("a callback failed: %s", type(error).__name__, exc_info=error)
    return _render_problem(internal_error(), scope)


def _render_problem(problem: Problem, scope: Scope) -> Response:
    response = problem_response(problem, scope["path"])
    return response.status_code, response.raw_headers, bytes(response.body)
