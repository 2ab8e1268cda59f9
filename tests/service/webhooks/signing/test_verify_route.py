"""`POST /api/webhooks/verify`: shown what a consumer received, it names the mistake."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import Shown, all_settled, checked, created, path, rotated
from tests.support.app_harness import AppHarness
from tests.support.live_server import ScriptedResponse, serve_script

Received = dict[str, Any]
"""The body of a request to verify."""


async def received(app: AppHarness, endpoint: Shown, receiver: Any, **more: object) -> Received:
    """What the receiver was sent last."""
    await checked(app.client, endpoint)
    asked = receiver.requests[-1]
    return {"headers": dict(asked.headers), "body": asked.body.decode(), **more}


async def told(app: AppHarness, asked: Received) -> dict[str, Any]:
    answer = await app.client.post("/api/webhooks/verify", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_came_as_it_was_sent_is_valid(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await created(app.client, receiver.url, ed25519=True)
        asked = await received(app, endpoint, receiver)
    by_bytes = {
        "headers": {name.upper(): value for name, value in asked["headers"].items()},
        "body_base64": base64.b64encode(asked["body"].encode()).decode(),
    }
    for shown in (asked, by_bytes):
        found = await told(app, shown)
        assert (found["valid"], found["problem"], found["problems"]) == (True, None, [])
        assert found["id"] == endpoint["id"]
        assert abs(found["clock_off_seconds"]) <= 60


def rewritten(body: str) -> str:
    return json.dumps(json.loads(body))


BODIES: dict[str, Callable[[str], str]] = {
    "body_reserialised": rewritten,
    "body_line_ends": lambda body: body + "\n",
    "body_encoding": lambda body: "\ufeff" + body,
    "body_changed": lambda body: body.replace("test", "best"),
}


async def test_a_changed_body_is_told_from_the_one_that_was_sent(
    app: AppHarness, subtests: pytest.Subtests
) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        asked = await received(app, await created(app.client, receiver.url), receiver)
    for problem, change in BODIES.items():
        with subtests.test(problem):
            found = await told(app, asked | {"body": change(asked["body"])})
            assert (found["valid"], found["problem"]) == (False, problem)


SIGNERS: dict[str, Callable[[str, bytes, bytes], str]] = {
    "secret_not_decoded": lambda secret, signed, _: mac(secret.removeprefix("whsec_").encode(), signed),
    "secret_with_prefix": lambda secret, signed, _: mac(secret.encode(), signed),
    "signed_content": lambda secret, _, body: mac(decoded(secret), body),
    "hex": lambda secret, signed, _: hmac.digest(decoded(secret), signed, "sha256").hex(),
    "unexplained": lambda _, signed, __: mac(bytes(32), signed),
}


def decoded(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def mac(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


async def test_what_the_receiver_computed_is_explained(app: AppHarness, subtests: pytest.Subtests) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await created(app.client, receiver.url)
        asked = await received(app, endpoint, receiver)
    at = f"{asked['headers']['webhook-id']}.{asked['headers']['webhook-timestamp']}."
    body = asked["body"].encode()
    for problem, signer in SIGNERS.items():
        with subtests.test(problem):
            expected = signer(endpoint["secret"], at.encode() + body, body)
            found = await told(app, asked | {"expected": expected})
            assert (found["valid"], found["problem"]) == (True, problem)
            assert expected not in json.dumps(found)


async def test_the_clock_is_named_with_how_far_it_is_off(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        asked = await received(app, await created(app.client, receiver.url), receiver)
    sent_at = int(asked["headers"]["webhook-timestamp"])
    for off in (3_600, -3_600):
        clock = datetime.fromtimestamp(sent_at + off, UTC).isoformat()
        found = await told(app, asked | {"received_at": clock})
        assert (found["valid"], found["problem"], found["clock_off_seconds"]) == (False, "clock_off", off)


async def test_secrets_of_before_and_of_elsewhere_are_recognised(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await created(app.client, f"{receiver.url}/one")
        other = await created(app.client, f"{receiver.url}/two")
        asked = await received(app, endpoint, receiver, id=endpoint["id"])
    elsewhere = await told(app, asked | {"id": other["id"]})
    await rotated(app.client, endpoint)
    before = await told(app, asked)
    assert (before["valid"], before["problem"]) == (False, "old_key")
    assert (elsewhere["valid"], elsewhere["problem"]) == (False, "other_endpoint")


async def test_the_endpoint_of_one_export_is_found_by_the_delivery(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        body = app.export_body(webhook_url=receiver.url, webhook_events=["export.failed"])
        job = await app.submit_export(json=body)
        await (await app.next_run()).report_failed()
        await all_settled(app.client, job["webhook"], 1)
        [asked] = receiver.requests
    found = await told(app, {"headers": dict(asked.headers), "body": asked.body.decode()})
    assert (found["valid"], found["id"]) == (True, job["webhook"]["id"])


async def test_without_a_known_id_or_an_only_endpoint_one_has_to_be_named(app: AppHarness) -> None:
    unknown = {"headers": {"webhook-id": "msg_\0", "webhook-timestamp": "1"}, "body": "{}"}
    assert (await app.client.post("/api/webhooks/verify", json=unknown)).status_code == 404
    endpoint = await created(app.client, "http://127.0.0.1:2/hook")
    found = await told(app, unknown)
    assert (found["id"], found["problem"], found["header"]) == (
        endpoint["id"],
        "header_missing",
        "webhook-signature",
    )
    await created(app.client, "http://127.0.0.1:2/hook")
    answer = await app.client.post("/api/webhooks/verify", json=unknown)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("The webhook-id of the message is unknown.")


async def test_nobody_learns_anything_of_anothers_endpoint(multi_user_app: AppHarness) -> None:
    client = multi_user_app.client
    with serve_script(ScriptedResponse(204)) as receiver:
        client.headers.update(bearer("ada"))
        endpoint = await created(client, receiver.url)
        asked = await received(multi_user_app, endpoint, receiver)
    mine = await created(client, "http://127.0.0.1:2/hook", headers=bearer("bob"))
    by_id = await client.post(
        "/api/webhooks/verify", json=asked | {"id": endpoint["id"]}, headers=bearer("bob")
    )
    by_delivery = await client.post("/api/webhooks/verify", json=asked, headers=bearer("bob"))
    del client.headers["authorization"]
    assert by_id.status_code == 404
    assert by_delivery.json()["id"] == mine["id"]
    assert by_delivery.json()["problem"] == "wrong_secret"
    assert (await client.post("/api/webhooks/verify", json=asked)).status_code == 401


BAD: dict[str, Received] = {
    "no body": {"headers": {}},
    "two bodies": {"headers": {}, "body": "", "body_base64": ""},
    "no headers": {"body": ""},
    "no base64": {"headers": {}, "body_base64": "x"},
    "a list of values": {"headers": {"webhook-id": ["1"]}, "body": ""},
    "a time without a zone": {"headers": {}, "body": "", "received_at": "2026-01-01T00:00:00"},
    "an unknown field": {"headers": {}, "body": "", "secret": "whsec_AAAA"},
    "too many headers": {"headers": {str(number): "" for number in range(101)}, "body": ""},
}


async def test_what_says_nothing_of_a_message_is_refused(app: AppHarness, subtests: pytest.Subtests) -> None:
    await created(app.client, "http://127.0.0.1:2/hook")
    for name, body in BAD.items():
        with subtests.test(name):
            answer = await app.client.post("/api/webhooks/verify", json=body)
            assert answer.status_code == 422, answer.text
            assert "Value error" not in answer.text


async def test_a_large_body_that_is_no_json_is_judged_as_well(app: AppHarness) -> None:
    endpoint = await created(app.client, "http://127.0.0.1:2/hook")
    headers = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": "v1," + mac(b"", b""),
    }
    found = await told(app, {"id": endpoint["id"], "headers": headers, "body": "[" * 1_000_000})
    assert (found["valid"], found["problem"]) == (False, "wrong_secret")
    assert (await app.client.get(path(endpoint))).status_code == 200
