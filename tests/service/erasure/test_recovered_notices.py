"""`recover` sends the notices that an endpoint has missed, made again from what the database has."""

import json
from typing import Any

import pytest

from tests.service.erasure.test_expiry import ADA, complete, expire, get
from tests.service.webhooks.api_calls import JsonObject, create_endpoint, path, wait_all_ended
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.live_server import Script, ScriptedResponse, serve_script

pytestmark = pytest.mark.anyio
NOTICES = ["batch.completed", "export.erased", "export.expired"]


async def recover(app: AppHarness, endpoint: JsonObject, since: str = "2020-01-01T00:00:00Z") -> int:
    answer = await app.client.post(path(endpoint, "recover"), json={"since": since})
    assert answer.status_code == 202, answer.text
    return int(answer.json()["recovered"])


def read_events(receiver: Script) -> list[dict[str, Any]]:
    """Return what was received, in the order of the types."""
    return sorted(
        (json.loads(request.body) for request in receiver.requests), key=lambda event: event["type"]
    )


async def complete_batch(app: AppHarness) -> str:
    """Submit a batch of one export, complete it and return its id."""
    answer = await app.client.post("/api/batches", json={"exports": [app.export_body()]})
    assert answer.status_code == 202, answer.text
    await app.complete_run(await app.next_run())
    return str(answer.json()["batch_id"])


async def test_missed_notices_are_recovered_once_and_only_if_wanted(
    app: AppHarness, clock: MovableClock
) -> None:
    app.client.headers.update(ADA)
    expiring = await complete(app, expires_in_days=2)
    erased = await complete(app)
    batch_id = await complete_batch(app)
    await app.client.delete(f"/api/exports/{erased['job_id']}?purge=true")
    await expire(app, clock, 1.1)
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url, events=NOTICES)
        assert await recover(app, endpoint, since="2100-01-01T00:00:00Z") == 0
        assert [await recover(app, endpoint), await recover(app, endpoint)] == [3, 0]
        await wait_all_ended(app.client, endpoint, 3)
        filtered = await create_endpoint(
            app.client, f"{receiver.url}/other", events=NOTICES, filter={"type": ["framing"]}
        )
        # No export is left to which the filter could be held, and a batch has no type.
        assert await recover(app, filtered) == 1
        ends = await create_endpoint(app.client, f"{receiver.url}/ends", events=["export.failed"])
        assert await recover(app, ends) == 0
    completed, gone, expires = read_events(receiver)[:3]
    assert [completed["type"], gone["type"], expires["type"]] == NOTICES
    assert (completed["data"]["batch_id"], completed["data"]["counts"]) == (batch_id, {"complete": 1})
    assert gone["data"].keys() == {"job_id", "erased_at"}
    assert gone["data"]["job_id"] == erased["job_id"]
    assert expires["data"] == await get(app, expiring["job_id"])
    assert expires["data"]["output"] is not None


async def test_of_an_expiry_the_newest_notice_is_recovered(app: AppHarness, clock: MovableClock) -> None:
    app.client.headers.update(ADA)
    job = await complete(app, expires_in_days=2)
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url, events=["export.expired"])
        await expire(app, clock, 1.1)
        await wait_all_ended(app.client, endpoint, 1)
        await app.client.patch(path(endpoint), json={"enabled": False})
        await expire(app, clock, 2.1)
        await app.client.patch(f"/api/exports/{job['job_id']}", json={"name": "edited since"})
        await app.client.patch(path(endpoint), json={"enabled": True})
        assert [await recover(app, endpoint), await recover(app, endpoint)] == [1, 0]
        await wait_all_ended(app.client, endpoint, 2)
    outputs = [json.loads(request.body)["data"]["output"] for request in receiver.requests]
    assert [output is None for output in outputs] == [False, True]


async def test_a_notice_that_failed_is_sent_again_whatever_the_filter(app: AppHarness) -> None:
    app.client.headers.update(ADA)
    job = await complete(app)
    with serve_script(ScriptedResponse(410), ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(
            app.client, receiver.url, events=["export.erased"], filter={"type": ["framing"]}
        )
        await app.client.delete(f"/api/exports/{job['job_id']}?purge=true")
        await wait_all_ended(app.client, endpoint, 1)
        await app.client.patch(path(endpoint), json={"enabled": True})
        assert await recover(app, endpoint) == 1
        (delivery,) = await wait_all_ended(app.client, endpoint, 1)
    assert (delivery["type"], delivery["state"]) == ("export.erased", "delivered")
    assert receiver.requests[0].body == receiver.requests[1].body
