"""Errors of the API client; the message of each is what the user reads."""

import re
from collections.abc import Sequence

import httpx
import msgspec

_STORAGE_ERROR_CODE = re.compile(rb"<Error>.{0,200}?<Code>(\w{1,64})</Code>", re.DOTALL)


class ClientError(Exception):
    """An operation failed; the message says why, and fits on a terminal."""


class Unreachable(ClientError):
    """The service does not respond."""


class UnexpectedResponse(ClientError):
    """The server is not Framehook, or a much newer one."""


class CorruptTransfer(ClientError):
    """A file changed on its way, or before all of it was sent."""


class RequestRejected(ClientError):
    """The service responded with a problem (RFC 9457).

    `fields` are the names of the invalid ones, such as `config.fps`.
    """

    def __init__(self, status: int, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.fields = tuple(fields)


class TokenExpired(RequestRejected):
    """The token expired while a stream was being read."""

    def __init__(self) -> None:
        super().__init__(
            httpx.codes.UNAUTHORIZED,
            "the token has expired; the export is still running\n"
            "  watch it with a new token, set with --token or FRAMEHOOK_TOKEN",
        )


class _FieldError(msgspec.Struct):
    msg: str
    loc: list[str | int] = []

    @property
    def name(self) -> str:
        return ".".join(str(part) for part in self.loc)

    def __str__(self) -> str:
        return f"{self.name}: {self.msg}" if self.name else self.msg


class _Problem(msgspec.Struct):
    detail: str = ""
    title: str = ""
    errors: list[_FieldError] = []


def rejection_from(response: httpx.Response) -> RequestRejected:
    """Convert a problem response: its detail, and each field error that the detail leaves out."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    detail = problem.detail or problem.title
    lines = [detail or _describe_foreign_response(response)]
    lines += [f"  {error}" for error in problem.errors if error.msg not in detail]
    if response.status_code == httpx.codes.UNAUTHORIZED:
        lines.append("  set a token with --token or FRAMEHOOK_TOKEN")
    return RequestRejected(response.status_code, "\n".join(lines), [error.name for error in problem.errors])


def _describe_foreign_response(response: httpx.Response) -> str:
    """Describe a response that is not a problem: a proxy's, or a storage error in XML."""
    answered = f"answered {response.status_code} {response.reason_phrase}".strip()
    code = _STORAGE_ERROR_CODE.search(response.content)
    if code:
        return f"the storage {answered}: {code[1].decode()}"
    is_wrong_address = response.status_code == httpx.codes.NOT_FOUND
    advice = "; check that --server or FRAMEHOOK_URL is the URL of the service" if is_wrong_address else ""
    return f"the service {answered}{advice}"


def describe_error(error: httpx.RequestError) -> str:
    """Describe a failed request without its errno."""
    if isinstance(error, httpx.TimeoutException):
        return "the request timed out"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return "the connection broke"
    return str(error).rpartition("] ")[2].strip().lower() or "the connection broke"
