"""Signed callbacks: verify the bytes of a request, then decode them strictly."""

import logging
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from starlette.types import Scope

from callbacks import signing
from callbacks.envelope import MAX_BODY_BYTES, decode
from service.api.requests import MAX_JOB_ID, is_json
from service.ingest.changes import Change
from service.problems import Invalid, NotFound, TooLarge, Unauthenticated, UnsupportedType, WrongClock

logger = logging.getLogger("framehook.callbacks")

CALLBACK_PREFIX = "/api/callbacks/"

Headers = Mapping[bytes, bytes]


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


def is_callback(scope: Scope) -> bool:
    """Tell whether a request reports on a job."""
    path: str = scope["path"]
    return (
        scope["method"] == "POST"
        and path.startswith(CALLBACK_PREFIX)
        and "/" not in path[len(CALLBACK_PREFIX) :]
    )


def parse_callback(scope: Scope, body: bytes) -> Change:
    """Return the change that a signed callback asks for; raises a Problem."""
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge
    headers = dict(scope["headers"])
    content_type = headers.get(b"content-type", b"")
    if content_type != _JSON and not is_json(content_type.decode("latin-1")):
        raise UnsupportedType
    state = scope["state"]
    job_id = scope["path"][len(CALLBACK_PREFIX) :]
    return _verify(state["master_keys"], job_id, headers, body, state["clock"].wall())


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
