"""`webhook_url` of an export: an endpoint of its own, whose secret is in the answer, told within the same trace."""

import json

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.webhooks.api_calls import all_settled, created, patched, path
from tests.support.app_harness import AppHarness
from tests.support.live_server import Script, ScriptedResponse, serve_script

URL = "http://127.0.0.1:2/hook"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def types(receiver: Script) -> list[str]:
    return [json.loads(asked.body)["type"] for asked in receiver.requests]


async def finished(app: AppHarness) -> None:
    """The next run, from its start to its end."""
    run = await app.next_run()
    await run.report_started()
    assert (await app.complete_run(run)).status_code == 200


async def test_an_exports_own_url_is_told_of_it_alone(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        job = await app.submit_export(json=app.export_body(webhook_url=f"{receiver.url}/own"))
        await finished(app)
        await app.submit_export()
        await finished(app)
        found = await all_settled(app.client, job["webhook"], 2)
    assert [one["type"] for one in found] == ["export.started", "export.completed"]
    assert types(receiver) == ["export.started", "export.completed"]
    for asked in receiver.requests:
        told = Webhook(job["webhook"]["secret"]).verify(asked.body, dict(asked.headers))
        assert told["data"]["job_id"] == job["job_id"]
    assert told["data"]["status"] == "complete"
    assert told["data"]["output"]["url"].endswith(f"/api/exports/{job['job_id']}/download")


async def test_it_is_told_of_the_events_it_names(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        body = app.export_body(webhook_url=receiver.url, webhook_events=["export.completed", "export.failed"])
        job = await app.submit_export(json=body)
        await finished(app)
        await all_settled(app.client, job["webhook"], 1)
    assert job["webhook"]["events"] == ["export.completed", "export.failed"]
    assert types(receiver) == ["export.completed"]


async def test_the_users_endpoints_are_told_as_well(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        mine = await created(app.client, f"{receiver.url}/mine", events=["export.completed"])
        job = await app.submit_export(
            json=app.export_body(webhook_url=f"{receiver.url}/own", webhook_events=["export.completed"])
        )
        await finished(app)
        [of_mine] = await all_settled(app.client, mine, 1)
        [of_own] = await all_settled(app.client, job["webhook"], 1)
    assert sorted(asked.path for asked in receiver.requests) == ["/mine", "/own"]
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
    said = ""
    for at in (f"/api/exports/{job['job_id']}", "/api/exports", f"/api/webhooks?job_id={job['job_id']}"):
        said += (await app.client.get(at)).text
    assert job["webhook"]["secret"].removeprefix("whsec_") not in said
    assert '"webhook"' not in said


async def test_its_endpoint_is_no_part_of_the_users_number(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(webhook_url=URL))
    assert (await app.client.get("/api/webhooks")).json() == {"webhooks": []}
    changed = await patched(app.client, job["webhook"], enabled=False)
    assert (changed["job_id"], changed["enabled"]) == (job["job_id"], False)
    assert (await app.client.delete(path(job["webhook"]))).status_code == 204


@pytest.mark.parametrize(
    "asked",
    [
        {"webhook_events": ["export.failed"]},
        {"webhook_url": URL, "webhook_events": []},
        {"webhook_url": URL, "webhook_events": ["export.exploded"]},
        {"webhook_url": 1},
    ],
    ids=["no url", "no events", "an unknown event", "no text"],
)
async def test_what_makes_no_endpoint_makes_no_export(app: AppHarness, asked: dict[str, object]) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(**asked))
    assert answer.status_code == 422
    assert (await app.client.get("/api/exports")).json()["exports"] == []


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        (TRACE, TRACE),
        (None, None),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        (TRACE + "\tx", None),
        (TRACE.upper(), None),
    ],
    ids=["whole", "none", "zero", "more", "upper case"],
)
async def test_the_trace_is_passed_on(app: AppHarness, given: str | None, passed_on: str | None) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        job = await app.submit_export(
            json=app.export_body(webhook_url=receiver.url), headers={"traceparent": given} if given else {}
        )
        await finished(app)
        await all_settled(app.client, job["webhook"], 2)
    assert [asked.headers.get("traceparent") for asked in receiver.requests] == [passed_on] * 2
