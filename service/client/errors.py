"""What can go wrong between a client and the service, each as the sentence that the user is told."""

import re
from collections.abc import Sequence

import httpx
import msgspec

_STORE_CODE = re.compile(rb"<Error>.{0,200}?<Code>(\w{1,64})</Code>", re.DOTALL)


class ClientError(Exception):
    """Something went wrong; the message says what, and fits on a terminal."""


class Unreachable(ClientError):
    """The service does not answer."""


class UnexpectedResponse(ClientError):
    """What answers is not Framehook, or one that is much newer."""


class CorruptTransfer(ClientError):
    """A file did not arrive as it left."""


class RequestRejected(ClientError):
    """The service answered with a problem (RFC 9457); `fields` are those that it objects to: `config.fps`."""

    def __init__(self, status: int, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.fields = tuple(fields)


class Expired(RequestRejected):
    """The token has ended while a stream was read with it."""

    def __init__(self) -> None:
        super().__init__(
            httpx.codes.UNAUTHORIZED,
            "the token has expired, and the export goes on: watch it with a new one\n"
            "  give a token with --token or FRAMEHOOK_TOKEN",
        )


class _Field(msgspec.Struct):
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
    errors: list[_Field] = []


def rejection_from(response: httpx.Response) -> RequestRejected:
    """The problem that a response tells of: its detail, and each field error that this leaves out."""
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    detail = problem.detail or problem.title
    lines = [detail or _bare(response)]
    lines += [f"  {found}" for found in problem.errors if found.msg not in detail]
    if response.status_code == httpx.codes.UNAUTHORIZED:
        lines.append("  give a token with --token or FRAMEHOOK_TOKEN")
    return RequestRejected(response.status_code, "\n".join(lines), [found.name for found in problem.errors])


def _bare(response: httpx.Response) -> str:
    """An answer that is no problem of ours: a proxy's, or a store's, which says in XML what it objects to."""
    answered = f"answered {response.status_code} {response.reason_phrase}".strip()
    code = _STORE_CODE.search(response.content)
    if code:
        return f"the storage {answered}: {code[1].decode()}"
    is_elsewhere = response.status_code == httpx.codes.NOT_FOUND
    advice = "; see that --server or FRAMEHOOK_URL is the address of Framehook" if is_elsewhere else ""
    return f"the service {answered}{advice}"


def describe_error(error: httpx.RequestError) -> str:
    """What befell a request, without the errno that nobody looks up."""
    if isinstance(error, httpx.TimeoutException):
        return "it does not answer in time"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError):
        return "the connection broke"
    return str(error).rpartition("] ")[2].strip().lower() or "the connection broke"
