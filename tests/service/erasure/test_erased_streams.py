"""Streams and sockets of an export that is erased, also on another replica."""

import asyncio
from contextlib import AsyncExitStack

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.fakes import FakeRunner
from tests.support.stream_calls import events_path, receive_job, socket_url, wait_close_code
from tests.support.stream_server import Road, StreamServer, open_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


async def purge(server: StreamServer, job_id: str) -> None:
    answer = await server.client.delete(f"/api/exports/{job_id}?purge=true")
    assert answer.status_code == 204


async def test_a_stream_of_an_erased_export_says_so_and_ends(server: StreamServer) -> None:
    run = await server.submit_export(export_id="chosen-id-1")
    async with server.events(events_path(run)) as events:
        first = await events.next()
        assert first is not None
        await purge(server, run.spec.job_id)
        *_, erased = await events.read_rest()
    assert erased.type == "export.erased"
    assert set(erased.job) == {"job_id", "export_id", "erased_at", "status", "sequence"}
    assert erased.job["job_id"] == run.spec.job_id
    assert (erased.job["export_id"], erased.job["status"]) == ("chosen-id-1", "erased")
    assert erased.job["sequence"] > first.job["sequence"]
    assert (await server.client.get(events_path(run))).status_code == 410


@pytest.mark.parametrize("road", Road)
async def test_sockets_say_what_was_erased_and_that_of_the_export_ends(
    settings: Settings, stack: AsyncExitStack, road: Road
) -> None:
    server = await stack.enter_async_context(open_server(settings, road=road))
    run = await server.submit_export(export_id="chosen-id-1")
    async with (
        websockets.connect(socket_url(server, run)) as socket,
        websockets.connect(f"ws://{server.address}/ws/exports?status=complete") as others,
    ):
        state = await receive_job(socket)
        await purge(server, run.spec.job_id)
        while state["status"] != "erased":
            previous, state = state, await receive_job(socket)
        assert set(state) == {"job_id", "export_id", "erased_at", "status", "sequence", "done"}
        assert (state["job_id"], state["export_id"], state["done"]) == (run.spec.job_id, "chosen-id-1", True)
        assert state["sequence"] > previous["sequence"]
        assert await wait_close_code(socket) == 4410
        assert await receive_job(others) == state
        await others.send("ping")
        async with asyncio.timeout(10):
            assert await others.recv() == "pong"
    with pytest.raises(InvalidStatus) as refusal:
        await websockets.connect(socket_url(server, run))
    assert refusal.value.response.status_code == 410


async def test_a_stream_of_all_exports_says_which_was_erased_on_any_replica(
    settings: Settings, postgresql_url: str, stack: AsyncExitStack
) -> None:
    await delete_all_rows(postgresql_url)
    shared = settings.model_copy(update={"database_url": postgresql_url})
    runner = FakeRunner()  # of both, as either may start the run
    first = await stack.enter_async_context(open_server(shared, runner))
    second = await stack.enter_async_context(open_server(shared, runner))
    async with second.events("/api/exports/events") as events:
        await events.snapshot()
        run = await first.submit_export()
        async with second.events(events_path(run)) as own:
            await own.next()
            await purge(first, run.spec.job_id)
            assert [event.type for event in await own.read_rest()][-1] == "export.erased"
        while (event := await events.next()) is not None and event.type != "export.erased":
            pass
    assert event is not None
    assert event.job["job_id"] == run.spec.job_id
