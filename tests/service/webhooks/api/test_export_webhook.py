"""`webhook_url` of an export: an endpoint of its own, in the same trace."""

import json

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.webhooks.api_calls import create_endpoint, patch_endpoint, path, wait_all_ended
from tests.support.app_harness import AppHarness
from tests.support.live_server import Script, ScriptedResponse, serve_script

URL = "http://127.0.0.1:2/hook"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def list_types(receiver: Script) -> list[str]:
    return [json.loads(request.body)["type"] for request in receiver.requests]


async def finish_run(app: AppHarness) -> None:
    """Report the next run from its start to its end."""
    run = await app.next_run()
    await run.report_started()
    assert (await app.complete_run(run)).status_code == 200


async def test_the_url_of_an_export_receives_only_its_events(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        job = await app.submit_export(json=app.export_body(webhook_url=f"{receiver.url}/own"))
        await finish_run(app)
        await app.submit_export()
        await finish_run(app)
        deliveries = await wait_all_ended(app.client, job["webhook"], 2)
    assert [delivery["type"] for delivery in deliveries] == ["export.started", "export.completed"]
    assert list_types(receiver) == ["export.started", "export.completed"]
    for request in receiver.requests:
        event = Webhook(job["webhook"]["secret"]).verify(request.body, dict(request.headers))
        assert event["data"]["job_id"] == job["job_id"]
    assert event["data"]["status"] == "complete"
    assert event["data"]["output"]["url"].endswith(f"/api/exports/{job['job_id']}/download")


async def test_it_receives_the_events_that_it_names(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        body = app.export_body(webhook_url=receiver.url, webhook_events=["export.completed", "export.failed"])
        job = await app.submit_export(json=body)
        await finish_run(app)
        await wait_all_ended(app.client, job["webhook"], 1)
    assert job["webhook"]["events"] == ["export.completed", "export.failed"]
    assert list_types(receiver) == ["export.completed"]


async def test_the_endpoints_of_the_user_receive_the_events_as_well(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        mine = await create_endpoint(app.client, f"{receiver.url}/mine", events=["export.completed"])
        job = await app.submit_export(
            json=app.export_body(webhook_url=f"{receiver.url}/own", webhook_events=["export.completed"])
        )
        await finish_run(app)
        [of_mine] = await wait_all_ended(app.client, mine, 1)
        [of_own] = await wait_all_ended(app.client, job["webhook"], 1)
    assert sorted(request.path for request in receiver.requests) == ["/mine", "/own"]
    assert of_mine["delivery_id"] != of_own["delivery_id"]


async def test_the_same_request_again_gives_the_same_secret(app: AppHarness) -> None:
    key = {"idempotency-key": "one"}
    body = app.export_body(webhook_url=URL)
    first = await app.submit_export(json=body, headers=key)
    again = await app.client.post("/api/exports", json=body, headers=key)
    other = await app.client.post(
        "/api/exports", json=app.export_body(webhook_url=f"{URL}/2"), headers={"idempotency-key": "one"}
    )
    assert again.status_code == 202
    assert again.json()["job_id"] == first["job_id"]
    assert again.json()["webhook"] == first["webhook"]
    assert first["webhook"]["secret"].startswith("whsec_")
    assert other.status_code == 422
    own = await app.client.get("/api/webhooks", params={"job_id": first["job_id"]})
    assert len(own.json()["webhooks"]) == 1


async def test_the_secret_is_in_no_other_answer_about_the_export(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(webhook_url=URL))
    responses = ""
    for url in (f"/api/exports/{job['job_id']}", "/api/exports", f"/api/webhooks?job_id={job['job_id']}"):
        responses += (await app.client.get(url)).text
    assert job["webhook"]["secret"].removeprefix("whsec_") not in responses
    assert '"webhook"' not in responses


async def test_its_endpoint_does_not_count_towards_the_limit(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(webhook_url=URL))
    assert (await app.client.get("/api/webhooks")).json() == {"webhooks": []}
    updated = await patch_endpoint(app.client, job["webhook"], enabled=False)
    assert (updated["job_id"], updated["enabled"]) == (job["job_id"], False)
    assert (await app.client.delete(path(job["webhook"]))).status_code == 204


@pytest.mark.parametrize(
    "fields",
    [
        {"webhook_events": ["export.failed"]},
        {"webhook_url": URL, "webhook_events": []},
        {"webhook_url": URL, "webhook_events": ["export.exploded"]},
        {"webhook_url": 1},
    ],
    ids=["no url", "no events", "an unknown event", "no text"],
)
async def test_an_invalid_webhook_creates_no_export(app: AppHarness, fields: dict[str, object]) -> None:
    app.put_object()
    response = await app.client.post("/api/exports", json=app.export_body(**fields))
    assert response.status_code == 422
    assert (await app.client.get("/api/exports")).json()["exports"] == []


@pytest.mark.parametrize(
    ("traceparent", "forwarded"),
    [
        (TRACE, TRACE),
        (None, None),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        (TRACE + "\tx", None),
        (TRACE.upper(), None),
    ],
    ids=["whole", "none", "zero", "more", "upper case"],
)
async def test_the_trace_and_the_id_of_the_request_are_passed_on(
    app: AppHarness, traceparent: str | None, forwarded: str | None
) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        job = await app.submit_export(
            json=app.export_body(webhook_url=receiver.url),
            headers={"x-request-id": "r-1"} | ({"traceparent": traceparent} if traceparent else {}),
        )
        await finish_run(app)
        await wait_all_ended(app.client, job["webhook"], 2)
    assert [request.headers.get("traceparent") for request in receiver.requests] == [forwarded] * 2
    assert [request.headers["x-request-id"] for request in receiver.requests] == ["r-1"] * 2
