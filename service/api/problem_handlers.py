"""Map every exception of a route to a problem, and render it as RFC 9457."""

import logging
from typing import NotRequired, TypedDict

import msgspec
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ExceptionHandler, Receive, Scope, Send
from starlette.websockets import WebSocket

from infra.database.errors import DATABASE_ERRORS, is_disk_full
from infra.storage import DiskFull, StorageError, StorageUnavailable
from service.problems import (
    DiskFullProblem,
    FieldError,
    MethodNotAllowed,
    NotFound,
    Problem,
    StorageMisconfigured,
    StorageUnreachable,
    Unavailable,
)

logger = logging.getLogger("framehook.errors")

DATABASE_FULL = (
    "The disk of the service's database is full, so nothing was changed; "
    "ask the operator for more disk space, then send the request again."
)
DISK_FULL_ADVICE = "the disk of DATA_DIR has no room: free some, or move DATA_DIR to a larger one"


class ProblemDetails(TypedDict):
    """Why a request was rejected (RFC 9457).

    Programs branch on `code`, which never changes and also ends `type`. People read `detail`: what happened, and what
    to do. `errors` names the fields that are wrong. `instance` is the path of the request.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: NotRequired[list[FieldError]]


def problem_response(problem: Problem, instance: str) -> Response:
    """Render the problem as `application/problem+json`; `instance` is the path of the request."""
    body: ProblemDetails = {
        "type": f"urn:framehook:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "instance": instance,
    }
    if problem.errors:
        body["errors"] = problem.errors
    return Response(
        msgspec.json.encode(body),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


async def on_problem(request: Request, error: Exception) -> Response:
    """Respond to a Problem that a route raised."""
    assert isinstance(error, Problem)
    return problem_response(error, request.url.path)


async def on_storage_error(request: Request, error: Exception) -> Response:
    """Respond 503 or 507 to a failure of the storage: nothing is wrong with the request."""
    assert isinstance(error, StorageError)
    if isinstance(error, DiskFull):
        logger.warning("%s %s: %s", request.method, request.url.path, DISK_FULL_ADVICE)
        return problem_response(DiskFullProblem(), request.url.path)
    logger.error("%s %s: %s: %s", request.method, request.url.path, error.code, error)
    is_temporary = isinstance(error, StorageUnavailable)
    return problem_response(
        StorageUnreachable() if is_temporary else StorageMisconfigured(), request.url.path
    )


async def on_database_error(request: Request, error: Exception) -> Response:
    """Respond 503 while the database is unavailable.

    An error in our own SQL is raised as a bug.
    """
    if isinstance(error, (IntegrityError, ProgrammingError, DataError)):
        raise error
    values = (request.method, request.url.path, type(error).__name__, error)
    logger.error("%s %s: %s: %s", *values, extra={"cause": error})
    return problem_response(Unavailable(DATABASE_FULL if is_disk_full(error) else None), request.url.path)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Respond to an unknown path or method in the same form.

    Answer OPTIONS with the methods of the path.
    """
    assert isinstance(error, HTTPException)
    if error.status_code == NotFound.status:
        return problem_response(NotFound(), request.url.path)
    allow = {"Allow": ", ".join(_list_methods(request))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    return problem_response(MethodNotAllowed(headers=allow), request.url.path)


async def refuse_unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a path that no route has, and the handshake of a WebSocket there."""
    if scope["type"] != "websocket":
        raise HTTPException(NotFound.status)
    response = problem_response(NotFound(), scope["path"])
    await WebSocket(scope, receive, send).send_denial_response(response)


def _list_methods(request: Request) -> list[str]:
    """List the methods of a path, which has a route for each method or few methods."""
    routes = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    own = [route for route in routes if route.path == routes[0].path]
    return sorted({"OPTIONS"}.union(*(route.methods or () for route in own)))


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """Respond to a client that disconnected while sending its body.

    The response is never read; it keeps the exception out of the log.
    """
    return Response(status_code=400)


async def on_unexpected_error(request: Request, _error: Exception) -> Response:
    """Respond 500 to an unexpected exception.

    The traceback goes to the log, never to the client. Starlette raises the exception again, and the server then closes
    the connection, so that a client must send nothing else over it.
    """
    response = problem_response(internal_error(), request.url.path)
    response.headers["Connection"] = "close"
    return response


def internal_error() -> Problem:
    """Return the generic 500 problem for unexpected exceptions."""
    return Problem("The service failed unexpectedly; the operator finds the error in its log.")


EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    Problem: on_problem,
    StorageError: on_storage_error,
    HTTPException: on_http_exception,
    ClientDisconnect: on_disconnect,
    **dict.fromkeys(DATABASE_ERRORS, on_database_error),
    Exception: on_unexpected_error,
}
"""For Starlette, which uses the handler of the closest class."""
