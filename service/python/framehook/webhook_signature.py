"""Verify the webhooks that the service sends."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from callbacks.signing import TOLERANCE_SECONDS, VerificationFailed, decode_secret, verify
from framehook.errors import InvalidSignature
from framehook.models import Export

_EXPORT_PREFIX = "export."


class WebhookEvent(msgspec.Struct, frozen=True):
    """A verified event; `id` stays the same when it is sent again. `export` is set if it is about an export."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any]
    export: Export | None = None


class _Envelope(msgspec.Struct):
    type: str
    timestamp: datetime
    data: dict[str, Any]


def verify_webhook(
    payload: bytes | str,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> WebhookEvent:
    """Return the event of a webhook that was signed with the secret lately; raises InvalidSignature.

    `payload` is the body as it was received, `headers` are those of the request. During a rotation give both secrets.
    """
    body = payload.encode() if isinstance(payload, str) else bytes(payload)
    keys = [decode_secret(text) for text in ([secret] if isinstance(secret, str) else secret)]
    lower_case = {name.lower(): value for name, value in headers.items()}
    try:
        event_id = verify(
            keys,
            lower_case,
            body,
            now=time.time() if now is None else now,
            tolerance_seconds=tolerance_seconds,
        )
        envelope = msgspec.json.decode(body, type=_Envelope)
        export = None
        if envelope.type.startswith(_EXPORT_PREFIX) and "sequence" in envelope.data:
            export = msgspec.convert(envelope.data, Export)
    except VerificationFailed as error:
        raise InvalidSignature(error.reason) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidSignature("the body is no event of this version") from error
    return WebhookEvent(event_id, envelope.type, envelope.timestamp, envelope.data, export)
