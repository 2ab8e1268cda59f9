"""Endpoints over the API; a secret is shown only where it is created."""

import base64
import time
from contextlib import AsyncExitStack
from datetime import datetime

import pytest

from service.settings import Settings
from service.webhooks import endpoints, serializers
from tests.service.webhooks.api_calls import (
    JsonObject,
    create_endpoint,
    deliveries,
    patch_endpoint,
    path,
    rotate_secret,
    send_test_event,
)
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.live_server import RecordedRequest, ScriptedResponse, serve_script

URL = "http://127.0.0.1:2/hook"
USUAL = [
    "export.started",
    "export.completed",
    "export.failed",
    "export.cancelled",
    "export.expired",
    "export.erased",
    "batch.completed",
]


async def test_a_new_endpoint_is_shown_whole(app: AppHarness) -> None:
    response = await app.client.post("/api/webhooks", json={"url": URL, "description": "billing"})
    shown = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == path(shown)
    assert response.headers["cache-control"] == "no-store"
    assert len(base64.b64decode(shown.pop("secret").removeprefix("whsec_"), validate=True)) == 32
    assert datetime.fromisoformat(shown.pop("created_at")).timestamp() == pytest.approx(time.time(), abs=60)
    assert shown == {
        "id": shown["id"],
        "kind": "url",
        "url": URL,
        "description": "billing",
        "events": USUAL,
        "filter": None,
        "format": "standard",
        "header_names": [],
        "rate_limit": None,
        "job_id": None,
        "enabled": True,
        "disabled_reason": None,
        "disabled_at": None,
        "failing_since": None,
        "public_key": None,
        "previous_secret_until": None,
        "listened_at": None,
    }
    assert (await app.client.get(path(shown))).json().items() >= shown.items()


async def test_a_secret_is_in_no_other_answer_and_no_log(
    app: AppHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", "framehook")
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook", ed25519=True)
        renewed = await rotate_secret(app.client, endpoint)
        delivery = await send_test_event(app.client, endpoint)
        responses = [
            await app.client.get("/api/webhooks"),
            await app.client.get(path(endpoint)),
            await app.client.patch(path(endpoint), json={"description": "x"}),
            await app.client.get(path(endpoint, "public-key")),
            await app.client.get(path(endpoint, "deliveries")),
            await app.client.get(path(endpoint, f"deliveries/{delivery['delivery_id']}")),
            await app.client.post(path(endpoint, "test")),
            await app.client.patch(path(endpoint), json={"secret": endpoint["secret"]}),
            await app.client.post(
                "/api/webhooks/verify", json=_build_verify_body(receiver.requests[0], endpoint)
            ),
        ]
    said = "".join(response.text for response in responses) + caplog.text
    for secret in (endpoint["secret"], renewed["secret"]):
        assert secret.removeprefix("whsec_") not in said
    assert "whsk_" not in said


async def test_event_types_are_stored_once_and_in_order(app: AppHarness) -> None:
    event_types = ["export.failed", "export.progress", "export.failed"]
    endpoint = await create_endpoint(app.client, URL, events=event_types)
    assert endpoint["events"] == ["export.progress", "export.failed"]


async def test_a_list_has_the_users_own_endpoints_oldest_first(app: AppHarness) -> None:
    endpoints_created = [await create_endpoint(app.client, f"{URL}/{number}") for number in range(3)]
    job = await app.submit_export(json=app.export_body(webhook_url=URL))
    shown = (await app.client.get("/api/webhooks")).json()["webhooks"]
    of_job = (await app.client.get("/api/webhooks", params={"job_id": job["job_id"]})).json()["webhooks"]
    assert [endpoint["id"] for endpoint in shown] == [endpoint["id"] for endpoint in endpoints_created]
    assert [endpoint["id"] for endpoint in of_job] == [job["webhook"]["id"]]


async def test_only_given_fields_are_changed(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL, description="before")
    changed = await patch_endpoint(app.client, endpoint, events=["export.failed"])
    assert changed == (await app.client.get(path(endpoint))).json()
    del endpoint["secret"]
    assert changed == endpoint | {"events": ["export.failed"]}
    assert await patch_endpoint(app.client, endpoint) == changed
    moved = await patch_endpoint(app.client, endpoint, url=f"{URL}/2", description="")
    assert moved == changed | {"url": f"{URL}/2", "description": ""}


async def test_an_endpoint_that_is_enabled_again_starts_without_failures(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL)
    off = await patch_endpoint(app.client, endpoint, enabled=False)
    assert (off["enabled"], off["disabled_reason"]) == (False, "disabled")
    assert off["disabled_at"] is not None
    assert await patch_endpoint(app.client, endpoint, enabled=False) == off
    on = await patch_endpoint(app.client, endpoint, enabled=True)
    del endpoint["secret"]
    assert on == endpoint


async def test_a_removed_endpoint_is_deleted_with_its_deliveries(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        delivery = await send_test_event(app.client, endpoint)
    delivery_path = path(endpoint, f"deliveries/{delivery['delivery_id']}")
    assert (await app.client.delete(path(endpoint))).status_code == 204
    for gone in (path(endpoint), path(endpoint, "deliveries"), delivery_path):
        assert (await app.client.get(gone)).status_code == 404
    assert (await app.client.delete(path(endpoint))).status_code == 404
    assert (await app.client.get("/api/webhooks")).json() == {"webhooks": []}


async def test_a_rotation_gives_a_new_secret_and_an_overlap_of_a_day(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL, ed25519=True)
    renewed = await rotate_secret(app.client, endpoint)
    assert renewed["secret"] != endpoint["secret"]
    assert renewed["public_key"] != endpoint["public_key"]
    until = datetime.fromisoformat(renewed["previous_secret_until"]).timestamp()
    assert until == pytest.approx(time.time() + 86_400, abs=60)


async def test_the_end_of_an_expired_secret_is_not_shown(app: AppHarness) -> None:
    await rotate_secret(app.client, await create_endpoint(app.client, URL))
    async with app.database.reading() as session:
        (endpoint,) = await endpoints.list_by_user(session, "local")
    assert serializers.endpoint_to_dict(endpoint, clock=lambda: time.time() + 86_000)["previous_secret_until"]
    assert (
        serializers.endpoint_to_dict(endpoint, clock=lambda: time.time() + 86_500)["previous_secret_until"]
        is None
    )


async def test_only_an_endpoint_with_ed25519_has_public_keys(app: AppHarness) -> None:
    without = await create_endpoint(app.client, URL)
    with_keys = await create_endpoint(app.client, URL, ed25519=True)
    keys = (await app.client.get(path(with_keys, "public-key"))).json()
    assert keys == {"public_key": with_keys["public_key"], "public_keys": [with_keys["public_key"]]}
    assert (await app.client.get(path(without, "public-key"))).status_code == 404


@pytest.mark.parametrize("method", ["test", "recover"])
async def test_a_disabled_endpoint_rejects_tests_and_recoveries(app: AppHarness, method: str) -> None:
    endpoint = await create_endpoint(app.client, URL)
    await patch_endpoint(app.client, endpoint, enabled=False)
    response = await app.client.post(path(endpoint, method), json={"since": "2026-01-01T00:00:00Z"})
    assert response.status_code == 409
    assert response.json()["type"] == "urn:framehook:problem:endpoint_disabled"


async def test_nothing_is_sent_again_to_a_disabled_endpoint(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        delivery = await send_test_event(app.client, endpoint)
    await patch_endpoint(app.client, endpoint, enabled=False)
    response = await app.client.post(path(endpoint, f"deliveries/{delivery['delivery_id']}/redeliver"))
    assert response.status_code == 409
    assert (await deliveries(app.client, endpoint))["deliveries"][0]["state"] == "delivered"


async def test_the_routes_answer_head_and_refuse_other_methods(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for read in ("/api/webhooks", path(endpoint), path(endpoint, "deliveries")):
        head, whole = await app.client.head(read), await app.client.get(read)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]
        assert head.headers["content-type"] == "application/json"
    refused = await app.client.put(path(endpoint), json={})
    assert refused.status_code == 405
    assert refused.headers["content-type"] == "application/problem+json"


async def test_pages_of_an_allowed_origin_may_change_an_endpoint(
    settings: Settings, stack: AsyncExitStack
) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("https://app.example",)})
    app = await stack.enter_async_context(open_app(allowing, FakeRunner()))
    endpoint = await create_endpoint(app.client, URL)
    origin = {"origin": "https://app.example"}
    asking = {
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "content-type,traceparent",
    }
    allowed = await app.client.options(path(endpoint), headers=origin | asking)
    assert allowed.status_code == 200, allowed.text
    assert "PATCH" in allowed.headers["access-control-allow-methods"]
    changed = await app.client.patch(path(endpoint), json={"description": "x"}, headers=origin)
    assert changed.headers["access-control-allow-origin"] == "https://app.example"
    elsewhere = await app.client.options(path(endpoint), headers=asking | {"origin": "https://else.example"})
    assert elsewhere.status_code == 400


def _build_verify_body(request: RecordedRequest, endpoint: JsonObject) -> JsonObject:
    return {"id": endpoint["id"], "headers": dict(request.headers), "body": request.body.decode()}
