"""`webhook_url` of an export: an endpoint of its own, whose secret is in the answer, told within the same trace."""

import json

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.webhooks.api_calls import all_settled, created, patched, path
from tests.support.app_harness import House
from tests.support.live_server import Answer, Script, scripted

URL = "http://127.0.0.1:2/hook"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def types(receiver: Script) -> list[str]:
    return [json.loads(asked.body)["type"] for asked in receiver.asked]


async def finished(house: House) -> None:
    """The next run, from its start to its end."""
    run = await house.run()
    await run.started()
    assert (await house.completed(run)).status_code == 200


async def test_an_exports_own_url_is_told_of_it_alone(house: House) -> None:
    with scripted(Answer(204)) as receiver:
        job = await house.submitted(json=house.body(webhook_url=f"{receiver.url}/own"))
        await finished(house)
        await house.submitted()
        await finished(house)
        found = await all_settled(house.client, job["webhook"], 2)
    assert [one["type"] for one in found] == ["export.started", "export.completed"]
    assert types(receiver) == ["export.started", "export.completed"]
    for asked in receiver.asked:
        told = Webhook(job["webhook"]["secret"]).verify(asked.body, dict(asked.headers))
        assert told["data"]["job_id"] == job["job_id"]
    assert told["data"]["status"] == "complete"
    assert told["data"]["output"]["url"].endswith(f"/api/exports/{job['job_id']}/download")


async def test_it_is_told_of_the_events_it_names(house: House) -> None:
    with scripted(Answer(204)) as receiver:
        body = house.body(webhook_url=receiver.url, webhook_events=["export.completed", "export.failed"])
        job = await house.submitted(json=body)
        await finished(house)
        await all_settled(house.client, job["webhook"], 1)
    assert job["webhook"]["events"] == ["export.completed", "export.failed"]
    assert types(receiver) == ["export.completed"]


async def test_the_users_endpoints_are_told_as_well(house: House) -> None:
    with scripted(Answer(204)) as receiver:
        mine = await created(house.client, f"{receiver.url}/mine", events=["export.completed"])
        job = await house.submitted(
            json=house.body(webhook_url=f"{receiver.url}/own", webhook_events=["export.completed"])
        )
        await finished(house)
        [of_mine] = await all_settled(house.client, mine, 1)
        [of_own] = await all_settled(house.client, job["webhook"], 1)
    assert sorted(asked.path for asked in receiver.asked) == ["/mine", "/own"]
    assert of_mine["delivery_id"] != of_own["delivery_id"]


async def test_the_same_request_again_gives_the_same_secret(house: House) -> None:
    key = {"idempotency-key": "one"}
    body = house.body(webhook_url=URL)
    first = await house.submitted(json=body, headers=key)
    again = await house.client.post("/api/exports", json=body, headers=key)
    other = await house.client.post(
        "/api/exports", json=house.body(webhook_url=f"{URL}/2"), headers={"idempotency-key": "one"}
    )
    assert again.status_code == 202
    assert again.json()["job_id"] == first["job_id"]
    assert again.json()["webhook"] == first["webhook"]
    assert first["webhook"]["secret"].startswith("whsec_")
    assert other.status_code == 422
    own = await house.client.get("/api/webhooks", params={"job_id": first["job_id"]})
    assert len(own.json()["webhooks"]) == 1


async def test_the_secret_is_in_no_other_answer_about_the_export(house: House) -> None:
    job = await house.submitted(json=house.body(webhook_url=URL))
    said = ""
    for at in (f"/api/exports/{job['job_id']}", "/api/exports", f"/api/webhooks?job_id={job['job_id']}"):
        said += (await house.client.get(at)).text
    assert job["webhook"]["secret"].removeprefix("whsec_") not in said
    assert '"webhook"' not in said


async def test_its_endpoint_is_no_part_of_the_users_number(house: House) -> None:
    job = await house.submitted(json=house.body(webhook_url=URL))
    assert (await house.client.get("/api/webhooks")).json() == {"webhooks": []}
    changed = await patched(house.client, job["webhook"], enabled=False)
    assert (changed["job_id"], changed["enabled"]) == (job["job_id"], False)
    assert (await house.client.delete(path(job["webhook"]))).status_code == 204


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
async def test_what_makes_no_endpoint_makes_no_export(house: House, asked: dict[str, object]) -> None:
    house.put()
    answer = await house.client.post("/api/exports", json=house.body(**asked))
    assert answer.status_code == 422
    assert (await house.client.get("/api/exports")).json()["exports"] == []


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
async def test_the_trace_is_passed_on(house: House, given: str | None, passed_on: str | None) -> None:
    with scripted(Answer(204)) as receiver:
        job = await house.submitted(
            json=house.body(webhook_url=receiver.url), headers={"traceparent": given} if given else {}
        )
        await finished(house)
        await all_settled(house.client, job["webhook"], 2)
    assert [asked.headers.get("traceparent") for asked in receiver.asked] == [passed_on] * 2
