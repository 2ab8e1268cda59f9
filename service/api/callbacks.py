"""`POST /api/callbacks/{job_id}`: verify a signed callback and apply it.

A bare ASGI application, because every progress report of every export comes through here.
"""

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypedDict

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from callbacks import signing
from callbacks.envelope import MAX_BODY_BYTES, Callback, decode
from infra.database.errors import DATABASE_ERRORS
from infra.storage import StorageError
from service.api.openapi.operations import Body, Credential, Tag, declare_operation
from service.api.openapi.parameters import SIGNATURE_HEADERS
from service.api.problem_handlers import internal_error, problem_response
from service.api.requests import MAX_JOB_ID, is_json
from service.ingest.batch_writer import WriterStopped
from service.ingest.changes import Applied, Change, Refusal
from service.problems import (
    AttemptOver,
    Invalid,
    NotFound,
    Problem,
    StillFinalizing,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedType,
    WrongClock,
)

logger = logging.getLogger("framehook.callbacks")

Headers = Mapping[bytes, bytes]

_REFUSALS: dict[Refusal, Callable[[], Problem]] = {
    Refusal.UNKNOWN: lambda: NotFound("The export does not exist."),
    Refusal.OVER: AttemptOver,
    Refusal.HELD: StillFinalizing,
}
TEMPORARY_ERRORS = (*DATABASE_ERRORS, StorageError, WriterStopped)
"""Errors that kept a callback from being stored; the run sends it again."""


class _UnverifiedData(msgspec.Struct):
    attempt: int


class _UnverifiedBody(msgspec.Struct):
    """The one field that is read before the signature is verified: it selects the key."""

    data: _UnverifiedData


_unverified_decoder = msgspec.json.Decoder(_UnverifiedBody)

_SIGNATURE_HEADERS = tuple(
    (name, name.encode()) for name in (signing.ID_HEADER, signing.TIMESTAMP_HEADER, signing.SIGNATURE_HEADER)
)
_JSON = b"application/json"
CALLBACK_PREFIX = "/api/callbacks/"


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
    """`POST /api/callbacks/{job_id}`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            sequence = await self._accept(scope, receive)
        except Problem as problem:
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        except Exception:  # no middleware handles errors here
            await problem_response(internal_error(), scope["path"])(scope, receive, send)
            raise
        body = b'{"sequence":%d}' % sequence
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _accept(self, scope: Scope, receive: Receive) -> int:
        headers = dict(scope["headers"])
        body = await _read_body(receive)
        if headers.get(b"content-type") != _JSON and not is_json(_header_text(headers, b"content-type")):
            raise UnsupportedType
        state, job_id = scope["state"], scope["path_params"]["job_id"]
        change = _verify(state["master_keys"], job_id, headers, body, state["clock"].wall())
        try:
            outcome = await state["finalizer"].apply(change)
        except TEMPORARY_ERRORS as error:
            logger.exception("a callback could not be stored: %s", type(error).__name__)
            raise Unavailable from error
        if isinstance(outcome, Applied):
            return outcome.sequence
        raise _REFUSALS[outcome]()


class CallbackFastPath:
    """Passes callbacks by all middleware and the router.

    Measured, those cost as much as the rest of a callback. This is safe: the signature covers what they check.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._callbacks = Callbacks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].startswith(CALLBACK_PREFIX)
        ):
            job_id = scope["path"][len(CALLBACK_PREFIX) :]
            if "/" not in job_id:
                scope["path_params"] = {"job_id": job_id}
                await self._callbacks(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _header_text(headers: Headers, name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("The connection closed before the end of the body.")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
        if not message.get("more_body", False):
            return body


def _verify(masters: tuple[bytes, ...], job_id: str, headers: Headers, body: bytes, now: float) -> Change:
    signed = {name: headers[key].decode("latin-1") for name, key in _SIGNATURE_HEADERS if key in headers}
    if signing.SIGNATURE_HEADER not in signed:
        raise Unauthenticated(
            f"The callback is not signed: send {', '.join(name for name, _ in _SIGNATURE_HEADERS)}."
        )
    if len(job_id) > MAX_JOB_ID:  # keys are cached by job id, and a client may send any
        raise NotFound("The export does not exist.")
    try:
        attempt = _unverified_decoder.decode(body).data.attempt
        signing.verify(_attempt_keys(masters, job_id, attempt), signed, body, now=now)
        callback = decode(body)
    except signing.TimestampOutOfRange as refused:
        logger.warning("a callback for %.64r was refused: %s", job_id, refused.reason)
        raise WrongClock(now) from None
    except signing.VerificationFailed as refused:
        logger.warning("a callback for %.64r was refused: %s", job_id, refused.reason)
        raise Unauthenticated("Invalid signature.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not a valid callback: {error}") from None
    if callback.data.job_id != job_id:
        raise Invalid("`job_id` does not match the URL.")
    return Change(callback.type, callback.data, now)


@lru_cache(maxsize=10_000)
def _attempt_keys(masters: tuple[bytes, ...], job_id: str, attempt: int) -> list[bytes]:
    return [signing.derive_attempt_key(master, job_id, attempt) for master in masters]
