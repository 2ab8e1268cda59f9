"""A stream or socket that is opened under a chosen id waits for its export, for a minute and in its user's slots."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.service.conftest import bearer, token
from tests.support.clocks import MovableClock
from tests.support.stream_calls import receive_job, wait_close_code
from tests.support.stream_server import Road, StreamServer, open_server, wait_until

CHOSEN = "export_1764460800000_k3j9x2m1q"
EVENTS = f"/api/exports/{CHOSEN}/events"
UNKNOWN_JOB = "01934d2f-0f6b-7c3a-9d55-1f0a7c1e2b3a"


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(settings, road=road))


@pytest.fixture(params=["sqlite", "postgresql"])
async def server_on_any_database(
    request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack
) -> StreamServer:
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    stack.push_async_callback(delete_all_rows, url)
    changed = settings.model_copy(update={"database_url": url})
    return await stack.enter_async_context(open_server(changed))


async def test_streams_opened_before_their_export_exists_follow_it_to_its_end(
    server_on_any_database: StreamServer,
) -> None:
    server = server_on_any_database
    async with (
        server.events(EVENTS) as events,
        connect(f"ws://{server.address}/ws/export/{CHOSEN}") as socket,
    ):
        await wait_until(lambda: server.stream_count == 2)
        other = await server.submit_export()
        await other.report_failed()
        run = await server.submit_export(export_id=CHOSEN)
        await run.report_failed()
        seen = await events.read_rest()
        assert {event.job["export_id"] for event in seen} == {CHOSEN}
        assert (seen[-1].type, events.retry) == ("export.failed", "2000")
        async with asyncio.timeout(10):
            states = [json.loads(message) async for message in socket]
        assert {state["export_id"] for state in states} == {CHOSEN}
        assert states[-1]["done"] is True
        assert socket.close_code == 1000
    await wait_until(lambda: server.stream_count == 0)


async def test_an_export_that_another_replica_creates_ends_the_wait(
    postgresql_url: str, settings: Settings, stack: AsyncExitStack
) -> None:
    await delete_all_rows(postgresql_url)
    stack.push_async_callback(delete_all_rows, postgresql_url)
    shared = settings.model_copy(update={"database_url": postgresql_url})
    here, there = [await stack.enter_async_context(open_server(shared)) for _ in range(2)]
    async with here.events(EVENTS) as events:
        await wait_until(lambda: here.stream_count == 1)
        await there.post_export(export_id=CHOSEN)
        first = await events.next()
        assert first is not None
        assert first.job["export_id"] == CHOSEN


async def test_a_socket_that_waits_answers_pings(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/export/{CHOSEN}") as socket, asyncio.timeout(10):
        await socket.send("ping")
        assert await socket.recv() == "pong"


async def test_an_export_that_is_not_created_in_time_ends_the_wait(
    settings: Settings, stack: AsyncExitStack
) -> None:
    clock = MovableClock()
    server = await stack.enter_async_context(open_server(settings, clock=clock.clock))
    async with (
        server.events(EVENTS) as events,
        connect(f"ws://{server.address}/ws/export/{CHOSEN}") as socket,
    ):
        await wait_until(lambda: server.stream_count == 2)
        clock.passed_seconds += 61
        await server.submit_export()  # wakes them, as the passing time would
        assert [(event.type, event.job) for event in await events.read_rest()] == [
            ("stream.not_found", {"reason": "not_found"})
        ]
        assert await wait_close_code(socket) == 4404


async def test_an_id_of_the_service_is_not_waited_for(server: StreamServer) -> None:
    for unknown in (UNKNOWN_JOB, "short", "with.dots.in.it", "x" * 65):
        assert (await server.client.get(f"/api/exports/{unknown}/events")).status_code == 404
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{server.address}/ws/export/{unknown}")
        assert refused.value.response.status_code == 404


async def test_another_users_id_is_waited_for_like_an_unknown_one(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    server = await stack.enter_async_context(open_server(users_settings))
    await server.submit_export(user="ada", headers=bearer("ada"), export_id=CHOSEN)
    async with server.events(EVENTS, **bearer("eve")) as events:
        await wait_until(lambda: server.stream_count == 1)
        run = await server.submit_export(user="eve", headers=bearer("eve"), export_id=CHOSEN)
        first = await events.next()
        assert first is not None
        assert first.job["job_id"] == run.spec.job_id


async def test_waiting_streams_take_their_users_slots(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    bounded = users_settings.model_copy(update={"max_streams_per_user": 1})
    server = await stack.enter_async_context(open_server(bounded))
    await stack.enter_async_context(server.events(EVENTS, **bearer("ada")))
    await wait_until(lambda: server.stream_count == 1)
    async with server.events("/api/exports/another-chosen-id/events", **bearer("ada")) as events:
        event = await events.next()
        assert event is not None
        assert event.job == {"reason": "too_many_streams"}
    headers = {"Authorization": f"Bearer {token('ada')}"}
    async with connect(f"ws://{server.address}/ws/export/{CHOSEN}", additional_headers=headers) as socket:
        assert await wait_close_code(socket) == 1013


async def test_a_shutdown_ends_a_wait_cleanly(server: StreamServer) -> None:
    async with (
        server.events(EVENTS) as events,
        connect(f"ws://{server.address}/ws/export/{CHOSEN}") as socket,
    ):
        await wait_until(lambda: server.stream_count == 2)
        stopping = asyncio.create_task(server.stop())
        assert await events.read_rest() == []
        assert await wait_close_code(socket) == 1012
        await stopping


async def test_a_client_that_leaves_while_it_waits_frees_its_slot(server: StreamServer) -> None:
    async with server.events(EVENTS):
        await wait_until(lambda: server.stream_count == 1)
    async with connect(f"ws://{server.address}/ws/export/{CHOSEN}"):
        await wait_until(lambda: server.stream_count == 1)
    await wait_until(lambda: server.stream_count == 0)


async def test_an_existing_export_is_streamed_under_both_of_its_ids(server: StreamServer) -> None:
    run = await server.submit_export(export_id=CHOSEN)
    for export_id in (CHOSEN, run.spec.job_id):
        async with connect(f"ws://{server.address}/ws/export/{export_id}") as socket:
            assert (await receive_job(socket))["job_id"] == run.spec.job_id
