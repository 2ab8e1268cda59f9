"""On the stream of all exports an owner hears that an endpoint was disabled for what it answers, on any replica."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from service.settings import Settings
from tests.service.webhooks.api_calls import checked, created, patched, path
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.stream_server import Events, StreamServer, open_server, wait_until


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


async def test_the_users_stream_tells_that_an_endpoint_was_disabled(server: StreamServer) -> None:
    async with server.events("/api/exports/events") as events:
        assert await events.snapshot() == []
        with serve_script(ScriptedResponse(410)) as receiver:
            endpoint = await created(server.client, receiver.url)
            await checked(server.client, endpoint)
        told = await events.next()
    assert told is not None
    assert told.type == "webhook.disabled"
    assert told.job == (await server.client.get(path(endpoint))).json()
    assert told.job["disabled_reason"] == "gone"
    assert "secret" not in told.job


async def test_the_socket_carries_exports_alone(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as socket:
        await wait_until(lambda: server.stream_count == 1)
        with serve_script(ScriptedResponse(410)) as receiver:
            await checked(server.client, await created(server.client, receiver.url))
        run = await server.submit_export()
        async with asyncio.timeout(10):
            first = json.loads(await socket.recv())
    assert first["job_id"] == run.spec.job_id


async def test_owners_who_disable_one_themselves_are_told_by_the_answer(server: StreamServer) -> None:
    async with server.events("/api/exports/events") as events:
        assert await events.snapshot() == []
        await patched(server.client, await created(server.client, "http://127.0.0.1:2/hook"), enabled=False)
        run = await server.submit_export()
        told = await events.next()
    assert told is not None
    assert (told.type, told.job["job_id"]) == ("export.progress", run.spec.job_id)


async def test_every_replica_tells_it(settings: Settings, stack: AsyncExitStack, postgresql_url: str) -> None:
    shared = settings.model_copy(update={"database_url": postgresql_url})
    streets = [await stack.enter_async_context(open_server(shared)) for _ in range(2)]
    listening: list[Events] = []
    for server in streets:
        listening.append(await stack.enter_async_context(server.events("/api/exports/events")))
        await listening[-1].snapshot()
    await patched(streets[0].client, await created(streets[0].client, "http://127.0.0.1:2/a"), enabled=False)
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await created(streets[0].client, receiver.url)
        await checked(streets[0].client, endpoint)
    for events in listening:
        told = await events.next()
        while told is not None and told.type != "webhook.disabled":
            told = await events.next()
        assert told is not None
        assert told.job["id"] == endpoint["id"]
