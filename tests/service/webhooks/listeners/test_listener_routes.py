"""The routes of listeners: who may listen, what the stream carries, and outcomes that go to any replica."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from callbacks.signing import decode_secret, verify
from service.settings import Settings
from tests.service.conftest import bearer, token
from tests.service.webhooks.api_calls import JsonObject, create_endpoint, path
from tests.support.problems import assert_problem
from tests.support.stream_server import Event, Events, StreamServer, open_server

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def server(users_settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings))


async def create_listener(server: StreamServer, user: str = "ada", **fields: Any) -> JsonObject:
    answer = await server.client.post(
        "/api/webhooks", json={"kind": "listener", **fields}, headers=bearer(user)
    )
    assert answer.status_code == 201, answer.text
    created: JsonObject = answer.json()
    return created


async def open_stream(
    stack: AsyncExitStack, server: StreamServer, listener: JsonObject, **headers: str
) -> Events:
    """Connect a listener and read its first event."""
    stream = server.events(path(listener, "listen"), method="POST", **(headers or bearer("ada")))
    events = await stack.enter_async_context(stream)
    first = await events.next()
    assert first is not None
    assert (first.type, first.job["endpoint_id"]) == ("listener.ready", listener["id"])
    return events


async def send_test(server: StreamServer, listener: JsonObject) -> str:
    answer = await server.client.post(path(listener, "test"), headers=bearer("ada"))
    delivery_id: str = answer.json()["delivery_id"]
    return delivery_id


async def next_delivery(events: Events) -> Event:
    event = await events.next()
    assert event is not None
    assert event.type == "delivery"
    return event


async def post_outcome(server: StreamServer, listener: JsonObject, event: Event, **body: Any) -> JsonObject:
    answer = await server.client.post(
        path(listener, f"deliveries/{event.job['delivery_id']}/outcome"),
        json={"seconds": 0.02, "attempt": event.job["attempt"], **body},
        headers=bearer("ada"),
    )
    assert answer.status_code == 200, answer.text
    recorded: JsonObject = answer.json()
    return recorded


async def test_a_delivery_goes_over_the_stream_and_its_outcome_into_the_log(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    listener = await create_listener(server, secret=SECRET)
    assert (listener["kind"], listener["url"], listener["secret"]) == ("listener", None, SECRET)
    events = await open_stream(stack, server, listener)
    delivery_id = await send_test(server, listener)
    event = await next_delivery(events)
    headers, body = event.job["headers"], event.job["body"].encode()
    timestamp = float(headers["webhook-timestamp"])
    assert verify([decode_secret(SECRET)], headers, body, now=timestamp) == delivery_id
    recorded = await post_outcome(server, listener, event, status=204, excerpt="ok")
    assert recorded["state"] == "delivered"
    (attempt,) = recorded["attempts"]
    assert (attempt["status"], attempt["seconds"], attempt["excerpt"]) == (204, 0.02, "ok")
    refused = await server.client.post(
        path(listener, f"deliveries/{delivery_id}/outcome"),
        json={"seconds": 0.02, "attempt": 2, "status": 204},
        headers=bearer("ada"),
    )
    assert assert_problem(refused, 409)["code"] == "no_such_attempt"


async def test_an_error_of_the_receiver_is_a_failed_attempt(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    listener = await create_listener(server)
    events = await open_stream(stack, server, listener)
    await send_test(server, listener)
    error = {"code": "connect", "message": "localhost port 3000 refuses connections"}
    recorded = await post_outcome(server, listener, await next_delivery(events), error=error)
    assert recorded["state"] == "failed"  # a test is sent once
    assert recorded["attempts"][0]["error"] == error
    await send_test(server, listener)
    recorded = await post_outcome(server, listener, await next_delivery(events), status=999)
    assert (recorded["state"], recorded["attempts"][0]["status"]) == ("failed", 999)  # as from a URL


async def test_only_the_owner_may_listen_and_report(server: StreamServer, stack: AsyncExitStack) -> None:
    listener = await create_listener(server)
    events = await open_stream(stack, server, listener)
    await send_test(server, listener)
    event = await next_delivery(events)
    outcome = path(listener, f"deliveries/{event.job['delivery_id']}/outcome")
    for headers, status in ((bearer("eve"), 404), ({}, 401)):
        assert (await server.client.post(path(listener, "listen"), headers=headers)).status_code == status
        answer = await server.client.post(outcome, json={"status": 200, "seconds": 1}, headers=headers)
        assert answer.status_code == status


async def test_a_stream_ends_with_its_token(server: StreamServer, stack: AsyncExitStack) -> None:
    listener = await create_listener(server)
    expiring = {"authorization": f"Bearer {token('ada', exp=int(time.time()) + 2)}"}
    events = await open_stream(stack, server, listener, **expiring)
    event = await events.next()
    assert event is not None
    assert (event.type, event.job["reason"]) == ("stream.expired", "token_expired")
    assert await events.next() is None
    answer = await server.client.post(path(listener, "listen"), headers=expiring)
    assert answer.status_code == 401


async def test_a_url_has_no_stream_and_a_listener_no_url(server: StreamServer) -> None:
    ada = bearer("ada")
    endpoint = await create_endpoint(server.client, "http://127.0.0.1:2/hook", headers=ada)
    assert (endpoint["kind"], endpoint["listened_at"]) == ("url", None)
    refused = await server.client.post(path(endpoint, "listen"), headers=ada)
    assert assert_problem(refused, 409)["code"] == "not_a_listener"
    listener = await create_listener(server)
    for body in (
        {"kind": "listener", "url": "https://example.org/"},
        {},
        {"url": "https://a.example", "secret": SECRET},
    ):
        assert (await server.client.post("/api/webhooks", json=body, headers=ada)).status_code == 422
    changed = await server.client.patch(path(listener), json={"url": "https://example.org/"}, headers=ada)
    assert changed.status_code == 422


async def test_a_deleted_listener_ends_its_stream(server: StreamServer, stack: AsyncExitStack) -> None:
    listener = await create_listener(server)
    events = await open_stream(stack, server, listener)
    await server.client.delete(path(listener), headers=bearer("ada"))
    assert await events.next() is None
    answer = await server.client.post(path(listener, "listen"), headers=bearer("ada"))
    assert answer.status_code == 404


async def test_a_shutdown_ends_the_stream_and_a_restart_sends_again(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    async with open_server(users_settings) as server:
        listener = await create_listener(server)
        events = await open_stream(stack, server, listener)
        delivery_id = await send_test(server, listener)
        first = await next_delivery(events)
        await server.stop()
        assert await events.next() is None
    async with open_server(users_settings) as server:
        again = await next_delivery(await open_stream(stack, server, listener))
        assert (again.job["delivery_id"], again.job["attempt"]) == (delivery_id, 2)
        # The first attempt has reached its receiver: its late success is the end of the delivery.
        recorded = await post_outcome(server, listener, first, status=200)
        assert recorded["state"] == "delivered"


async def test_outcomes_may_go_to_another_replica_than_the_stream(
    users_settings: Settings, stack: AsyncExitStack, postgresql_url: str
) -> None:
    shared = users_settings.model_copy(update={"database_url": postgresql_url})
    streaming, other = [await stack.enter_async_context(open_server(shared)) for _ in range(2)]
    listener = await create_listener(other)
    events = await open_stream(stack, streaming, listener)
    # Without the announcement the worker would wait for its time-out, and send one event at a time until then.
    for _ in range(3):
        delivery_id = await send_test(other, listener)
        event = await next_delivery(events)
        assert event.job["delivery_id"] == delivery_id
        assert (await post_outcome(other, listener, event, status=200))["state"] == "delivered"
    async with asyncio.timeout(10):
        while streaming.uvicorn.lifespan.state["delivery_worker"].in_flight:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.01)
    page = (await other.client.get(path(listener, "deliveries"), headers=bearer("ada"))).json()
    assert [len(delivery["attempts"]) for delivery in page["deliveries"]] == [1, 1, 1]
