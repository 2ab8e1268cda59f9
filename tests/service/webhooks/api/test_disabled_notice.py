"""The stream of all exports reports a disabled endpoint, on every replica."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from service.settings import Settings
from tests.service.webhooks.api_calls import create_endpoint, patch_endpoint, path, send_test_event
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.stream_server import Events, StreamServer, open_server, wait_until


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


async def test_the_users_stream_tells_that_an_endpoint_was_disabled(server: StreamServer) -> None:
    async with server.events("/api/exports/events") as events:
        assert await events.snapshot() == []
        with serve_script(ScriptedResponse(410)) as receiver:
            endpoint = await create_endpoint(server.client, receiver.url)
            await send_test_event(server.client, endpoint)
        event = await events.next()
    assert event is not None
    assert event.type == "webhook.disabled"
    assert event.job == (await server.client.get(path(endpoint))).json()
    assert event.job["disabled_reason"] == "gone"
    assert "secret" not in event.job


async def test_the_websocket_carries_only_exports(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as socket:
        await wait_until(lambda: server.stream_count == 1)
        with serve_script(ScriptedResponse(410)) as receiver:
            await send_test_event(server.client, await create_endpoint(server.client, receiver.url))
        run = await server.submit_export()
        async with asyncio.timeout(10):
            first = json.loads(await socket.recv())
    assert first["job_id"] == run.spec.job_id


async def test_owners_who_disable_an_endpoint_get_no_stream_event(server: StreamServer) -> None:
    async with server.events("/api/exports/events") as events:
        assert await events.snapshot() == []
        await patch_endpoint(
            server.client, await create_endpoint(server.client, "http://127.0.0.1:2/hook"), enabled=False
        )
        run = await server.submit_export()
        event = await events.next()
    assert event is not None
    assert (event.type, event.job["job_id"]) == ("export.progress", run.spec.job_id)


async def test_every_replica_reports_it(
    settings: Settings, stack: AsyncExitStack, postgresql_url: str
) -> None:
    shared = settings.model_copy(update={"database_url": postgresql_url})
    servers = [await stack.enter_async_context(open_server(shared)) for _ in range(2)]
    streams: list[Events] = []
    for server in servers:
        streams.append(await stack.enter_async_context(server.events("/api/exports/events")))
        await streams[-1].snapshot()
    await patch_endpoint(
        servers[0].client, await create_endpoint(servers[0].client, "http://127.0.0.1:2/a"), enabled=False
    )
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await create_endpoint(servers[0].client, receiver.url)
        await send_test_event(servers[0].client, endpoint)
    for events in streams:
        event = await events.next()
        while event is not None and event.type != "webhook.disabled":
            event = await events.next()
        assert event is not None
        assert event.job["id"] == endpoint["id"]
