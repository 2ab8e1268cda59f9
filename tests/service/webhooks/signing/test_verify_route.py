"""`POST /api/webhooks/verify` names the mistake in a received message."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import (
    JsonObject,
    create_endpoint,
    path,
    rotate_secret,
    send_test_event,
    wait_all_ended,
)
from tests.support.app_harness import AppHarness
from tests.support.live_server import ScriptedResponse, serve_script

VerifyBody = dict[str, Any]
"""The body of a verify request."""


async def receive(app: AppHarness, endpoint: JsonObject, receiver: Any, **more: object) -> VerifyBody:
    """Send a test event and return what the receiver got."""
    await send_test_event(app.client, endpoint)
    message = receiver.requests[-1]
    return {"headers": dict(message.headers), "body": message.body.decode(), **more}


async def run_verify(app: AppHarness, message: VerifyBody) -> dict[str, Any]:
    response = await app.client.post("/api/webhooks/verify", json=message)
    assert response.status_code == 200, response.text
    diagnosis: dict[str, Any] = response.json()
    return diagnosis


async def test_an_unchanged_message_is_valid(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url, ed25519=True)
        message = await receive(app, endpoint, receiver)
    by_bytes = {
        "headers": {name.upper(): value for name, value in message["headers"].items()},
        "body_base64": base64.b64encode(message["body"].encode()).decode(),
    }
    for variant in (message, by_bytes):
        diagnosis = await run_verify(app, variant)
        assert (diagnosis["valid"], diagnosis["problem"], diagnosis["problems"]) == (True, None, [])
        assert diagnosis["id"] == endpoint["id"]
        assert abs(diagnosis["clock_off_seconds"]) <= 60


def rewrite(body: str) -> str:
    return json.dumps(json.loads(body))


BODIES: dict[str, Callable[[str], str]] = {
    "body_reserialised": rewrite,
    "body_line_ends": lambda body: body + "\n",
    "body_encoding": lambda body: "\ufeff" + body,
    "body_changed": lambda body: body.replace("test", "best"),
}


async def test_a_changed_body_is_recognised_by_the_one_that_was_sent(
    app: AppHarness, subtests: pytest.Subtests
) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        message = await receive(app, await create_endpoint(app.client, receiver.url), receiver)
    for problem, change in BODIES.items():
        with subtests.test(problem):
            diagnosis = await run_verify(app, message | {"body": change(message["body"])})
            assert (diagnosis["valid"], diagnosis["problem"]) == (False, problem)


SIGNERS: dict[str, Callable[[str, bytes, bytes], str]] = {
    "secret_not_decoded": lambda secret, signed, _: compute_mac(
        secret.removeprefix("whsec_").encode(), signed
    ),
    "secret_with_prefix": lambda secret, signed, _: compute_mac(secret.encode(), signed),
    "signed_content": lambda secret, _, body: compute_mac(decode_secret(secret), body),
    "hex": lambda secret, signed, _: hmac.digest(decode_secret(secret), signed, "sha256").hex(),
    "unexplained": lambda _, signed, __: compute_mac(bytes(32), signed),
}


def decode_secret(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def compute_mac(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


async def test_what_the_receiver_computed_is_explained(app: AppHarness, subtests: pytest.Subtests) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url)
        message = await receive(app, endpoint, receiver)
    at = f"{message['headers']['webhook-id']}.{message['headers']['webhook-timestamp']}."
    body = message["body"].encode()
    for problem, signer in SIGNERS.items():
        with subtests.test(problem):
            expected = signer(endpoint["secret"], at.encode() + body, body)
            diagnosis = await run_verify(app, message | {"expected": expected})
            assert (diagnosis["valid"], diagnosis["problem"]) == (True, problem)
            assert expected not in json.dumps(diagnosis)


async def test_a_wrong_clock_is_reported_with_its_offset(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        message = await receive(app, await create_endpoint(app.client, receiver.url), receiver)
    sent_at = int(message["headers"]["webhook-timestamp"])
    for offset in (3_600, -3_600):
        clock = datetime.fromtimestamp(sent_at + offset, UTC).isoformat()
        diagnosis = await run_verify(app, message | {"received_at": clock})
        assert (diagnosis["valid"], diagnosis["problem"], diagnosis["clock_off_seconds"]) == (
            False,
            "clock_off",
            offset,
        )


async def test_previous_secrets_and_those_of_other_endpoints_are_recognised(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/one")
        other = await create_endpoint(app.client, f"{receiver.url}/two")
        message = await receive(app, endpoint, receiver, id=endpoint["id"])
    elsewhere = await run_verify(app, message | {"id": other["id"]})
    await rotate_secret(app.client, endpoint)
    before = await run_verify(app, message)
    assert (before["valid"], before["problem"]) == (False, "old_key")
    assert (elsewhere["valid"], elsewhere["problem"]) == (False, "other_endpoint")


async def test_the_endpoint_of_one_export_is_found_by_the_delivery(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        body = app.export_body(webhook_url=receiver.url, webhook_events=["export.failed"])
        job = await app.submit_export(json=body)
        await (await app.next_run()).report_failed()
        await wait_all_ended(app.client, job["webhook"], 1)
        [message] = receiver.requests
    diagnosis = await run_verify(app, {"headers": dict(message.headers), "body": message.body.decode()})
    assert (diagnosis["valid"], diagnosis["id"]) == (True, job["webhook"]["id"])


async def test_with_an_unknown_id_and_several_endpoints_one_has_to_be_named(app: AppHarness) -> None:
    unknown = {"headers": {"webhook-id": "msg_\0", "webhook-timestamp": "1"}, "body": "{}"}
    assert (await app.client.post("/api/webhooks/verify", json=unknown)).status_code == 404
    endpoint = await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    diagnosis = await run_verify(app, unknown)
    assert (diagnosis["id"], diagnosis["problem"], diagnosis["header"]) == (
        endpoint["id"],
        "header_missing",
        "webhook-signature",
    )
    await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    response = await app.client.post("/api/webhooks/verify", json=unknown)
    assert response.status_code == 404
    assert response.json()["detail"].startswith("The webhook-id of the message is unknown.")


async def test_a_user_learns_nothing_about_endpoints_of_others(multi_user_app: AppHarness) -> None:
    client = multi_user_app.client
    with serve_script(ScriptedResponse(204)) as receiver:
        client.headers.update(bearer("ada"))
        endpoint = await create_endpoint(client, receiver.url)
        message = await receive(multi_user_app, endpoint, receiver)
    own = await create_endpoint(client, "http://127.0.0.1:2/hook", headers=bearer("bob"))
    by_id = await client.post(
        "/api/webhooks/verify", json=message | {"id": endpoint["id"]}, headers=bearer("bob")
    )
    by_delivery = await client.post("/api/webhooks/verify", json=message, headers=bearer("bob"))
    del client.headers["authorization"]
    assert by_id.status_code == 404
    assert by_delivery.json()["id"] == own["id"]
    assert by_delivery.json()["problem"] == "wrong_secret"
    assert (await client.post("/api/webhooks/verify", json=message)).status_code == 401


BAD: dict[str, VerifyBody] = {
    "no body": {"headers": {}},
    "two bodies": {"headers": {}, "body": "", "body_base64": ""},
    "no headers": {"body": ""},
    "no base64": {"headers": {}, "body_base64": "x"},
    "a list of values": {"headers": {"webhook-id": ["1"]}, "body": ""},
    "a time without a zone": {"headers": {}, "body": "", "received_at": "2026-01-01T00:00:00"},
    "an unknown field": {"headers": {}, "body": "", "secret": "whsec_AAAA"},
    "too many headers": {"headers": {str(number): "" for number in range(101)}, "body": ""},
}


async def test_an_invalid_verify_request_is_rejected(app: AppHarness, subtests: pytest.Subtests) -> None:
    await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    for name, body in BAD.items():
        with subtests.test(name):
            response = await app.client.post("/api/webhooks/verify", json=body)
            assert response.status_code == 422, response.text
            assert "Value error" not in response.text


async def test_a_large_body_that_is_not_json_is_diagnosed_as_well(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1," + compute_mac(b"", b""),
    }
    diagnosis = await run_verify(app, {"id": endpoint["id"], "headers": headers, "body": "[" * 1_000_000})
    assert (diagnosis["valid"], diagnosis["problem"]) == (False, "wrong_secret")
    assert (await app.client.get(path(endpoint))).status_code == 200
