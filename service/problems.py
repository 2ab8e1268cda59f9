"""Errors as types: each carries its HTTP status, a code and a sentence; rendered as RFC 9457 in one place."""

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict

import asyncpg
import msgspec
import pydantic
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from infra.storage import DiskFull, StorageError, StorageUnavailable

logger = logging.getLogger("framehook.errors")

DATABASE_ERRORS = (
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was cut off within a conversation
    OSError,
)
"""What a database raises that is stopped, starting, out of reach or out of room."""


DISK_FULL_ADVICE = "the disk of DATA_DIR has no room: free some, or move DATA_DIR to a larger one"


class FieldError(TypedDict):
    """One thing wrong with a request: where, and what."""

    loc: list[str | int]
    msg: str


class Problem(Exception):
    """A refusal of a request, as the client is told it; each kind is a class with a title of its own."""

    title: ClassVar[str] = "The request could not be served."
    status: ClassVar[int] = 500
    code: str = "internal_error"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.title
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(self.detail)


class Invalid(Problem):
    title = "The request is not valid."
    status = 422
    code = "invalid"


class Unauthenticated(Problem):
    title = "The request carries no valid credentials."
    status = 401
    code = "unauthenticated"


class WrongClock(Unauthenticated):
    """The request was signed more than five minutes before or after the service's time."""

    title = "The request was not signed at the service's time."
    code = "clock_off"

    def __init__(self, now: float) -> None:
        super().__init__(
            "The request was signed more than five minutes before or after the service's time; "
            "sign it anew by the time in this answer's webhook-timestamp.",
            headers={"webhook-timestamp": str(int(now))},
        )


class Forbidden(Problem):
    title = "The credentials do not allow this."
    status = 403
    code = "forbidden"


class NotFound(Problem):
    title = "There is no such thing here."
    status = 404
    code = "not_found"


class Conflict(Problem):
    title = "The request does not fit the present state."
    status = 409
    code = "conflict"


class AlreadyFinished(Conflict):
    title = "The export has already finished."
    code = "already_finished"


class NotRetryable(Conflict):
    title = "Only a failed or cancelled export can be retried."
    code = "not_retryable"


class AttemptStillEnding(Conflict):
    title = "The export was cancelled while its file was put into its place; try again in a moment."
    code = "still_ending"


class OutputKeyInUse(Conflict):
    title = "Another export has this output key."
    code = "output_key_taken"


class AlreadyUploaded(Conflict):
    title = "Another file was uploaded to this URL before; ask for a new one with POST /api/uploads."
    code = "already_uploaded"


class OutputReplaced(Problem):
    title = "The file that was exported is not there any more: another lies in its place."
    status = 410
    code = "output_replaced"


class NotComplete(Conflict):
    title = "The export is not complete."
    code = "not_complete"


class AttemptOver(Problem):
    title = "This attempt is over: stop now."
    status = 410
    code = "attempt_over"


class TooLarge(Problem):
    title = "The body is too large."
    status = 413
    code = "too_large"


class UnsupportedType(Problem):
    title = "The content type is not supported."
    status = 415
    code = "unsupported_type"


class QuotaExceeded(Problem):
    title = "The quota is used up."
    status = 429
    code = "quota_exceeded"


class Unavailable(Problem):
    title = "The service can't do this right now; try again shortly."
    status = 503
    code = "unavailable"

    def __init__(self, detail: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class TooManyConnections(Unavailable):
    title = "Too many connections are open; try again shortly."
    code = "too_many_connections"


class StorageUnreachable(Unavailable):
    title = "The storage can't be reached right now; try again shortly."
    code = "storage_unavailable"


class StorageMisconfigured(Unavailable):
    title = "The storage is not set up as it should be; its operator has been told in the log."
    code = "storage_misconfigured"


class DiskFullProblem(Problem):
    title = (
        "The service's disk has no room for this file; "
        "remove files that are not needed, or ask its operator for a larger disk."
    )
    status = 507
    code = "disk_full"


def invalid_from_pydantic(error: pydantic.ValidationError, *prefix: str) -> Invalid:
    """What pydantic found, as a problem; the values themselves are not repeated."""
    errors = [
        FieldError(loc=[*prefix, *found["loc"]], msg=found["msg"].removeprefix("Value error, "))
        for found in error.errors()
    ]
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    return Invalid(f"{where}: {first['msg']}" if where else first["msg"], errors=errors)


def render(problem: Problem, instance: str) -> Response:
    """The problem as `application/problem+json`."""
    body: dict[str, object] = {
        "type": f"urn:framehook:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
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
    """Starlette's exception handler for every Problem."""
    assert isinstance(error, Problem)
    return render(error, request.url.path)


async def on_storage_error(request: Request, error: Exception) -> Response:
    """What the storage could not do, as a 503: nothing is wrong with the request."""
    assert isinstance(error, StorageError)
    if isinstance(error, DiskFull):
        logger.warning("%s %s: %s", request.method, request.url.path, DISK_FULL_ADVICE)
        return render(DiskFullProblem(), request.url.path)
    logger.error("%s %s: %s: %s", request.method, request.url.path, error.code, error)
    passing = isinstance(error, StorageUnavailable)
    return render(StorageUnreachable() if passing else StorageMisconfigured(), request.url.path)


async def on_database_error(request: Request, error: Exception) -> Response:
    """A database that is away, as a 503; one that objects to what it was told is a crash like any other."""
    if isinstance(error, (IntegrityError, ProgrammingError, DataError)):
        raise error
    said = (request.method, request.url.path, type(error).__name__, error)
    logger.error("%s %s: %s: %s", *said, extra={"cause": error})
    return render(Unavailable(), request.url.path)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses (unknown path, wrong method), in the same form; OPTIONS is answered."""
    assert isinstance(error, HTTPException)
    if error.status_code == NotFound.status:
        return render(NotFound(), request.url.path)
    allow = {"Allow": ", ".join(_allowed_methods(request))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allow)
    return render(MethodNotAllowed(headers=allow), request.url.path)


def _allowed_methods(request: Request) -> list[str]:
    """List what may be done with a path: it has a route for each method, or each few of them."""
    routes = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return sorted({"OPTIONS"}.union(*(route.methods or () for route in routes)))


async def on_disconnect(_request: Request, _error: Exception) -> Response:
    """The client went away within its body: nobody is left to read an answer, and nothing here is at fault."""
    return Response(status_code=400)


async def on_unexpected_error(request: Request, _error: Exception) -> Response:
    """Anything unforeseen: a bare 500; the traceback goes to the log, never to the client."""
    return render(internal_error(), request.url.path)


def internal_error() -> Problem:
    """All that a client learns of what nobody foresaw."""
    return Problem("Something went wrong here; it has been logged.")


class MalformedRequest(Problem):
    title = "The request is not valid HTTP."
    status = 400
    code = "malformed_request"


class RequestTimeout(Problem):
    title = "The request did not come in time; send it again."
    status = 408
    code = "request_timeout"


class HeadTooLarge(Problem):
    title = "The request's head is too large."
    status = 431
    code = "head_too_large"


class MethodNotAllowed(Problem):
    title = "This method is not allowed here."
    status = 405
    code = "method_not_allowed"
