"""Exceptions of the client; the message of each says what happened and what to do."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

if TYPE_CHECKING:
    from framehook.models import Export

_STORAGE_ERROR_CODE = re.compile(rb"<Error>.{0,200}?<Code>(\w{1,64})</Code>", re.DOTALL)
_UNTRUSTED = re.compile(r"certificate verify failed: (.+?) \(_ssl")
_TYPE_PREFIX = "urn:framehook:problem:"


class FramehookError(Exception):
    """An operation failed."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross processes: their constructors take other arguments than a message."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[FramehookError], arguments: tuple[Any, ...], attributes: dict[str, Any]
) -> FramehookError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class Unreachable(FramehookError):
    """A server does not respond; `is_refused` if nothing listens at the URL of the service."""

    def __init__(self, message: str, *, is_refused: bool = False) -> None:
        super().__init__(message)
        self.is_refused = is_refused


class UnexpectedResponse(FramehookError):
    """The server is not Framehook, or a much newer one."""


class CorruptTransfer(FramehookError):
    """A file changed on its way, or before all of it was sent."""


class InvalidSignature(FramehookError):
    """A webhook was not signed with the secret, or too long ago."""


class ExportFailed(FramehookError):
    """An export that was waited for has failed; `code` is that of its error."""

    def __init__(self, export: "Export") -> None:
        error = export.error
        super().__init__(
            f"the export failed: {error.message} ({error.code})"
            if error
            else f"the export was {export.status}"
        )
        self.export = export
        self.code = error.code if error else export.status


class ExportCancelled(ExportFailed):
    """An export that was waited for has been cancelled."""


class FieldError(msgspec.Struct, frozen=True):
    """One error in a request: the path of the field, and what is wrong with it."""

    msg: str
    loc: tuple[str | int, ...] = ()

    @property
    def name(self) -> str:
        """Return the path as text, such as `config.fps`."""
        return ".".join(str(part) for part in self.loc)

    def __str__(self) -> str:
        return f"{self.name}: {self.msg}" if self.name else self.msg


class Problem(FramehookError):
    """The service, or the storage behind it, has rejected a request (RFC 9457).

    Branch on `code`, which never changes; it is empty if another server has answered. Show people `detail`. The
    operator finds the request in the log by `request_id`.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str = "",
        errors: Sequence[FieldError] = (),
        retry_after_seconds: float | None = None,
        request_id: str | None = None,
    ) -> None:
        lines = [detail, *(f"  {error}" for error in errors if error.msg not in detail)]
        super().__init__("\n".join(lines))
        self.status = status
        self.detail = detail
        self.code = code
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id


class Unauthenticated(Problem):
    """The token is missing, invalid or expired (401)."""


class Forbidden(Problem):
    """The user may not do this (403)."""


class NotFound(Problem):
    """There is no such export, upload or endpoint, or it belongs to another user (404)."""


class Conflict(Problem):
    """The present state does not allow this, such as cancelling an export that has ended (409)."""


class Gone(Problem):
    """The resource existed, but does not any more (410)."""


class TooLarge(Problem):
    """The file or the request is larger than the service allows (413)."""


class UnsupportedType(Problem):
    """The file is not one of a type that the service accepts (415)."""


class Invalid(Problem):
    """The request is not valid; `errors` says which fields are wrong (422)."""


class QuotaExceeded(Problem):
    """A limit is reached; `retry_after_seconds` says when to try again (429)."""


class Unavailable(Problem):
    """The service can't answer now, after all retries (5xx)."""


_PROBLEMS: dict[int, type[Problem]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: UnsupportedType,
    422: Invalid,
    429: QuotaExceeded,
}


class _ProblemBody(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""
    errors: list[FieldError] = []


def problem_from(response: httpx.Response, retry_after_seconds: float | None = None) -> Problem:
    """Convert a response with an error status to an exception."""
    try:
        body = msgspec.json.decode(response.content, type=_ProblemBody)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        body = _ProblemBody()
    status = response.status_code
    kind = _PROBLEMS.get(status, Unavailable if response.is_server_error else Problem)
    return kind(
        status,
        body.detail or body.title or _describe_foreign_response(response),
        code=body.type.removeprefix(_TYPE_PREFIX) if body.type.startswith(_TYPE_PREFIX) else "",
        errors=body.errors,
        retry_after_seconds=retry_after_seconds,
        request_id=response.headers.get("x-request-id"),
    )


def _describe_foreign_response(response: httpx.Response) -> str:
    """Describe a response that is not a problem: a proxy's, or a storage error in XML."""
    answered = f"answered {response.status_code} {response.reason_phrase}".strip()
    code = _STORAGE_ERROR_CODE.search(response.content)
    if code:
        return f"the storage {answered}: {code[1].decode()}"
    is_wrong_address = response.is_redirect or response.status_code == httpx.codes.NOT_FOUND
    advice = "; check that its URL is right" if is_wrong_address else ""
    return f"the service {answered}{advice}"


def token_expiry_error() -> Unauthenticated:
    return Unauthenticated(
        401, "the token has expired; what it started is still running", code="unauthenticated"
    )


def is_untrusted(error: httpx.RequestError) -> bool:
    """Tell whether a server responds, but its certificate was refused."""
    return _UNTRUSTED.search(str(error)) is not None


def describe_error(error: httpx.RequestError) -> str:
    """Describe a failed request without its errno."""
    if isinstance(error, httpx.TimeoutException):
        return "the request timed out"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return "the connection broke"
    if untrusted := _UNTRUSTED.search(str(error)):
        return (
            f"its certificate is not trusted ({untrusted[1]}); if an authority of your own signs it, "
            "set SSL_CERT_FILE to the authority's certificate"
        )
    return str(error).rpartition("] ")[2].strip().lower() or "the connection broke"
