"""The command that says whether a webhook that was received is valid, and why not."""

import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from callbacks.signing import TIMESTAMP_HEADER, decode_secret
from framehook import FramehookError
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import Verification
from service.cli.errors import FAILED_STATUS, print_errors
from service.cli.exports.filters import parse_moment
from service.cli.options import AsJson, Server, Token, open_client
from service.cli.webhooks.output import print_result

MAX_MESSAGE_BYTES = 2**20
SECRET_VARIABLE = "FRAMEHOOK_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")

Headers = dict[str, str]


RequestFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="REQUEST",
        help="File with the headers, an empty line and the body; - is the standard input.",
        show_default=False,
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME:VALUE", help="Header of the request; repeat for all, without REQUEST."),
]
BodyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the body as it was received, without REQUEST."),
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SECRET",
        envvar=SECRET_VARIABLE,
        help="Secret of the endpoint, whsec_…; repeat it for those before a rotation.",
    ),
]
PublicKey = Annotated[str | None, typer.Option(metavar="KEY", help="Public key of the endpoint, whpk_….")]
Endpoint = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Endpoint that got the request, if the service should not look for it."),
]
ReceivedAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="TIME",
        parser=parse_moment,
        help="Time on the clock of the receiver, to check the age of the request as well.",
    ),
]


def verify(
    request: RequestFile = None,
    *,
    header: Header = None,
    body: BodyFile = None,
    secret: Secret = None,
    public_key: PublicKey = None,
    endpoint: Endpoint = None,
    received_at: ReceivedAt = None,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a webhook that was received.

    With a secret or a public key it is checked here; without, by the service, which knows what it sent. The exit
    status is 0 if the request is valid, else 1.
    """
    with print_errors():
        headers, content = read_request(request, header, body)
        moment = received_at or _time_of(headers)
        if secret or public_key:
            result = diagnose_here(headers, content, secret, public_key, moment)
        else:
            with open_client(server, token) as client:
                result = client.webhooks.diagnose(headers, content, endpoint_id=endpoint, received_at=moment)
        print_result(result, result.detail, as_json)
        if not result.valid:
            raise typer.Exit(FAILED_STATUS)


def read_request(
    request: Path | None, header_lines: Sequence[str] | None, body: Path | None
) -> tuple[Headers, bytes]:
    """Return the headers and the body of a request; raises FramehookError."""
    if (request is None) == (body is None):
        raise FramehookError("give a file with the whole request, or its headers with --header and --body")
    if request is not None:
        if header_lines:
            raise FramehookError("the headers are in the file of the request; leave --header out")
        return split_request(_read_file(request))
    assert body is not None
    return parse_headers(header_lines or ()), _read_file(body)


def split_request(content: bytes) -> tuple[Headers, bytes]:
    """Split a captured request at its first empty line; its request line, if there is one, is skipped."""
    head, separator, body = (
        re.split(rb"(\r?\n\r?\n)", content, maxsplit=1) if b"\n" in content else (b"", b"", b"")
    )
    if not separator:
        raise FramehookError("the request has no empty line between its headers and its body")
    lines = head.decode("latin-1").splitlines()
    is_request_line = bool(lines) and _HEADER.fullmatch(lines[0]) is None
    return parse_headers(lines[1:] if is_request_line else lines), body


def parse_headers(lines: Sequence[str]) -> Headers:
    """Parse header lines; raises FramehookError."""
    headers = {}
    for line in lines:
        match = _HEADER.fullmatch(line.strip("\r\n"))
        if match is None:
            raise FramehookError(f"{line[:80]!r} is not a header of the form NAME: VALUE")
        headers[match[1].lower()] = match[2]
    return headers


def _read_file(path: Path) -> bytes:
    with sys.stdin.buffer if path == Path("-") else path.open("rb") as file:
        content = file.read(MAX_MESSAGE_BYTES + 1)
    if len(content) > MAX_MESSAGE_BYTES:
        raise FramehookError(f"{path} is too large for a webhook; the limit is 1 MiB")
    return content


def diagnose_here(
    headers: Headers,
    body: bytes,
    secret_texts: Sequence[str] | None,
    public_key: str | None,
    received_at: datetime,
) -> Verification:
    """Check a request without a service; raises FramehookError for keys that are none.

    With a public key alone, the secret is one that nothing was signed with.
    """
    from service.webhooks import ed25519
    from service.webhooks.verifier import Keys, diagnose

    try:
        current, *previous = [decode_secret(text) for text in secret_texts or ()] or [secrets.token_bytes(32)]
        public = ed25519.decode_public(public_key) if public_key else None
    except ValueError as error:
        raise FramehookError(str(error)) from None
    keys = Keys(current, tuple(previous), public)
    diagnosis = diagnose(headers, body, keys, now=received_at.timestamp())
    return msgspec.convert(
        {
            "valid": diagnosis.valid,
            "detail": diagnosis.detail,
            "problem": diagnosis.problem,
            "problems": diagnosis.problems,
            "header": diagnosis.header,
            "clock_off_seconds": diagnosis.clock_off_seconds,
        },
        Verification,
    )


def _time_of(headers: Mapping[str, str]) -> datetime:
    """Return when the request was sent, so that its age is no mistake; now if it does not say so."""
    with suppress(KeyError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(int(headers[TIMESTAMP_HEADER]), UTC)
    return datetime.now(UTC)
