"""Verification of webhooks, held against the library of Standard Webhooks."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import standardwebhooks
from starlette.datastructures import Headers

from framehook import InvalidSignature, verify_webhook
from tests.support.live_server import export_state

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "QUJD" * 8
SENT_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = SENT_AT.timestamp()
JOB = export_state(4, "complete")
BODY = json.dumps(
    {"type": "export.completed", "timestamp": "2026-01-02T03:04:05Z", "data": msgspec.to_builtins(JOB)}
)


def sign(body: str, secret: str = SECRET) -> dict[str, str]:
    signature = standardwebhooks.Webhook(secret).sign("msg_1", SENT_AT, body)
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(NOW)), "Webhook-Signature": signature}


@pytest.mark.parametrize("payload", [BODY, BODY.encode()], ids=["text", "bytes"])
@pytest.mark.parametrize("secret", [SECRET, [OTHER, SECRET]], ids=["a secret", "two secrets"])
def test_a_signed_webhook_is_read(payload: str | bytes, secret: Any) -> None:
    event = verify_webhook(payload, Headers(sign(BODY)), secret, now=NOW + 299)
    assert (event.id, event.type, event.timestamp, event.export) == (
        "msg_1",
        "export.completed",
        SENT_AT,
        JOB,
    )


@pytest.mark.parametrize(
    ("changes", "seconds_later", "body"),
    [
        pytest.param({}, 301, BODY, id="too old"),
        pytest.param({}, -301, BODY, id="from the future"),
        pytest.param({}, 0, BODY + " ", id="another body"),
        pytest.param({"Webhook-Id": "msg_2"}, 0, BODY, id="another id"),
        pytest.param({"Webhook-Signature": ""}, 0, BODY, id="no signature"),
        pytest.param({"Webhook-Signature": "v1,é"}, 0, BODY, id="not ASCII"),
        pytest.param({"Webhook-Timestamp": "now"}, 0, BODY, id="no time"),
    ],
)
def test_a_forged_webhook_is_refused(changes: dict[str, str], seconds_later: float, body: str) -> None:
    with pytest.raises(InvalidSignature):
        verify_webhook(body, sign(BODY) | changes, SECRET, now=NOW + seconds_later)


@pytest.mark.parametrize(
    "body", ["", "[]", '{"type": 1}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")]
)
def test_a_signed_body_that_is_no_event_is_refused(body: str) -> None:
    with pytest.raises(InvalidSignature):
        verify_webhook(body, sign(body), SECRET, now=NOW)


def test_an_event_of_another_kind_has_no_export() -> None:
    body = '{"type": "webhook.disabled", "timestamp": "2026-01-02T03:04:05Z", "data": {"id": "e"}}'
    event = verify_webhook(body, sign(body), SECRET, now=NOW)
    assert (event.data, event.export) == ({"id": "e"}, None)


def test_a_malformed_secret_is_named_as_such_and_not_quoted() -> None:
    with pytest.raises(ValueError, match="a webhook secret is") as error:
        verify_webhook(BODY, sign(BODY), "whsec_*secret*", now=NOW)
    assert "*secret*" not in str(error.value)
