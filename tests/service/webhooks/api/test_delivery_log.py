"""The delivery routes: tests, pages of the log, redelivery and recovery."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from service.settings import Settings
from tests.service.webhooks.api_calls import (
    JsonObject,
    create_endpoint,
    deliveries,
    patch_endpoint,
    path,
    send_test_event,
    wait_all_attempted,
    wait_all_ended,
    wait_ended,
)
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.live_server import ScriptedResponse, serve_script

LONG_AGO = {"since": "2020-01-01T00:00:00Z"}


async def fail_export(app: AppHarness) -> str:
    """Submit an export, let it fail and return its id."""
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    assert (await run.report_failed()).status_code == 200
    return str(job["job_id"])


async def recover(app: AppHarness, endpoint: JsonObject, since: JsonObject = LONG_AGO) -> int:
    response = await app.client.post(path(endpoint, "recover"), json=since)
    assert response.status_code == 202, response.text
    return int(response.json()["recovered"])


async def test_a_test_event_is_sent_at_once_and_logged_whole(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(200, body=b"thank you")) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook?for=tests")
        response = await app.client.post(path(endpoint, "test"))
        delivery = await wait_ended(app.client, endpoint, response.json()["delivery_id"])
    [sent] = receiver.requests
    assert (sent.method, sent.path) == ("POST", "/hook?for=tests")
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["user-agent"] == "Framehook"
    event = Webhook(endpoint["secret"]).verify(sent.body, dict(sent.headers))
    assert event["type"] == "webhook.test"
    assert event["data"]["endpoint_id"] == endpoint["id"]
    assert delivery["delivery_id"] == sent.headers["webhook-id"]
    assert delivery["payload"] == sent.body.decode()
    [attempt] = delivery.pop("attempts")
    assert attempt.pop("at") >= delivery["created_at"]
    assert 0 <= attempt.pop("seconds") < 15
    assert attempt == {"attempt": 1, "status": 200, "error": None, "excerpt": "thank you"}
    assert response.status_code == 202
    accepted_body = response.json()
    assert accepted_body.pop("next_attempt_at") is not None
    assert accepted_body.items() <= {**delivery, "attempts": [], "state": "pending", "ended_at": None}.items()


async def test_a_failure_shows_the_response(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(500, body="ä".encode() * 10_000)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        whole = await send_test_event(app.client, endpoint)
    [listed] = (await deliveries(app.client, endpoint))["deliveries"]
    assert whole["state"] == listed["state"] == "failed"
    error = {"code": "status", "message": "The endpoint responded with 500; only 2xx counts as delivered."}
    assert whole["attempts"][0]["error"] == listed["attempts"][0]["error"] == error
    assert listed["attempts"][0]["excerpt"] == "ä" * 1_024
    assert whole["attempts"][0]["excerpt"] == "ä" * 8_192


async def test_pages_of_the_log_have_each_delivery_once_newest_first(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        created_ids = [(await send_test_event(app.client, endpoint))["delivery_id"] for _ in range(5)]
    ids, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = await deliveries(app.client, endpoint, limit=2, **({"cursor": cursor} if cursor else {}))
        ids += [item["delivery_id"] for item in page["deliveries"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert ids == created_ids[::-1]
    assert pages == 3
    assert all("payload" not in item for item in (await deliveries(app.client, endpoint))["deliveries"])


async def test_the_log_is_filtered_by_state(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204), ScriptedResponse(500)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        by_state = {"delivered": await send_test_event(app.client, endpoint)}
        by_state["failed"] = await send_test_event(app.client, endpoint)
    for state in ("pending", "delivered", "failed", "superseded"):
        page = await deliveries(app.client, endpoint, state=state)
        wanted = [by_state[state]["delivery_id"]] if state in by_state else []
        assert [item["delivery_id"] for item in page["deliveries"]] == wanted
        assert page["next_cursor"] is None


async def test_a_delivery_is_sent_again_with_the_same_id(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(500), ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        first = await send_test_event(app.client, endpoint)
        again = await app.client.post(path(endpoint, f"deliveries/{first['delivery_id']}/redeliver"))
        delivery = await wait_ended(app.client, endpoint, first["delivery_id"])
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    assert again.json()["attempts"] == first["attempts"]
    assert delivery["state"] == "delivered"
    assert [item["status"] for item in delivery["attempts"]] == [500, 204]
    assert len({sent.headers["webhook-id"] for sent in receiver.requests}) == 1
    assert len({sent.body for sent in receiver.requests}) == 1


async def test_a_redelivery_goes_to_the_current_url(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(404)) as wrong, serve_script(ScriptedResponse(204)) as right:
        endpoint = await create_endpoint(app.client, f"{wrong.url}/hok")
        first = await send_test_event(app.client, endpoint)
        await patch_endpoint(app.client, endpoint, url=f"{right.url}/hook")
        await app.client.post(path(endpoint, f"deliveries/{first['delivery_id']}/redeliver"))
        delivery = await wait_ended(app.client, endpoint, first["delivery_id"])
    assert [item["status"] for item in delivery["attempts"]] == [404, 204]
    assert [request.path for request in right.requests] == ["/hook"]
    assert wrong.requests[0].headers["webhook-id"] == right.requests[0].headers["webhook-id"]


async def test_a_delivery_that_waits_for_its_next_attempt_can_be_sent_at_once(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(500), ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook", events=["export.failed"])
        await fail_export(app)
        [first] = await wait_all_attempted(app.client, endpoint)
        assert first["state"] == "pending"
        assert first["next_attempt_at"] > first["attempts"][0]["at"]
        await app.client.post(path(endpoint, f"deliveries/{first['delivery_id']}/redeliver"))
        delivery = await wait_ended(app.client, endpoint, first["delivery_id"])
    assert [item["status"] for item in delivery["attempts"]] == [500, 204]
    assert delivery["next_attempt_at"] is None


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_events_missed_while_disabled_are_recovered_exactly_once(
    request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack, database: str
) -> None:
    since = {"since": datetime.now(UTC).isoformat()}
    url = request.getfixturevalue("postgresql_url") if database == "postgresql" else None
    on_it = settings.model_copy(update={"database_url": url})
    app = await stack.enter_async_context(open_app(on_it, FakeRunner()))
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook", events=["export.failed"])
        taken = await fail_export(app)
        await wait_all_ended(app.client, endpoint, 1)
        await patch_endpoint(app.client, endpoint, enabled=False)
        missed = [await fail_export(app) for _ in range(3)]
        await patch_endpoint(app.client, endpoint, enabled=True)
        counts = await asyncio.gather(*(recover(app, endpoint, since) for _ in range(4)))
        recovered = await wait_all_ended(app.client, endpoint, 4)
        assert await recover(app, endpoint, since) == 0
    assert sum(counts) == 3
    assert sorted(item["job_id"] for item in recovered) == sorted([taken, *missed])
    assert len(receiver.requests) == 4


async def test_a_recovery_goes_back_to_the_given_time(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        await fail_export(app)
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook")
        soon = datetime.fromtimestamp(time.time(), UTC) + timedelta(minutes=1)
        assert await recover(app, endpoint, {"since": soon.isoformat()}) == 0
        assert await recover(app, endpoint) == 1
        [delivery] = await wait_all_ended(app.client, endpoint, 1)
    assert (delivery["type"], delivery["state"]) == ("export.failed", "delivered")


async def test_a_failed_delivery_is_recovered_as_well(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(410), ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook", events=["export.failed"])
        await fail_export(app)
        [gone] = await wait_all_ended(app.client, endpoint, 1)
        shown = (await app.client.get(path(endpoint))).json()
        assert (gone["state"], shown["enabled"], shown["disabled_reason"]) == ("failed", False, "gone")
        await patch_endpoint(app.client, endpoint, enabled=True)
        assert await recover(app, endpoint) == 1
        delivery = await wait_ended(app.client, endpoint, gone["delivery_id"])
    assert delivery["state"] == "delivered"
    assert len({sent.headers["webhook-id"] for sent in receiver.requests}) == 1


async def test_an_endpoint_recovers_only_its_event_types(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        await fail_export(app)
        endpoint = await create_endpoint(app.client, f"{receiver.url}/hook", events=["export.completed"])
        assert await recover(app, endpoint) == 0
