"""The first states of a stream are limited; a reconnect misses no final state."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from service.fanout.initial_states import LOOK_BACK_SECONDS, MARGIN_SECONDS, MAX_SNAPSHOT, position_from
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.fakes import FakeRun
from tests.support.job_history import copy_finished
from tests.support.stream_server import Events, Road, StreamServer, open_server

EVENTS = "/api/exports/events"


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(settings, road=road))


async def finish_many(server: StreamServer, count: int, *, newest: float) -> FakeRun:
    """Create a failed export and `count` copies of it."""
    run = await server.submit_export()
    await run.report_failed()
    database = server.uvicorn.lifespan.state["database"]
    await copy_finished(database, run.spec.job_id, count, newest=newest)
    return run


async def take(events: Events, count: int) -> list[str]:
    """Return the job ids of the next `count` events."""
    job_ids = []
    for _ in range(count):
        event = await events.next()
        assert event is not None
        job_ids.append(event.job["job_id"])
    return job_ids


async def test_a_stream_begins_with_a_snapshot_even_without_exports(server: StreamServer) -> None:
    async with server.events(EVENTS) as events:
        event = await events.next()
        assert event is not None
        assert (event.type, event.job) == ("export.snapshot", {"exports": []})
        assert events.comments == []
        assert events.retry == "2000"


async def test_the_first_states_of_a_stream_are_limited(server: StreamServer) -> None:
    await finish_many(server, 1_000, newest=time.time() - 1)
    active = await server.submit_export()
    await server.wait_for_call_id(active)
    async with server.events(EVENTS) as events:
        jobs = await events.snapshot()
        assert jobs[0]["job_id"] == active.spec.job_id
        assert len({job["job_id"] for job in jobs}) == MAX_SNAPSHOT
        assert jobs[-2]["job_id"] == "copy-1000"
        await active.report_failed()
        assert set(await take(events, 1)) == {active.spec.job_id}


async def test_a_reconnect_gets_every_missed_final_state(server: StreamServer) -> None:
    async with server.events(EVENTS) as events:
        snapshot = await events.next()
        assert snapshot is not None
    await finish_many(server, 500, newest=time.time())
    headers = {"last-event-id": snapshot.id}
    async with server.events(EVENTS, **headers) as events:
        seen = [job["job_id"] for job in await events.snapshot()]
        assert len(seen) == MAX_SNAPSHOT
        seen += await take(events, 501 - MAX_SNAPSHOT)
    assert len(seen) == len(set(seen)) == 501


async def test_a_reconnect_misses_no_final_state_dated_by_a_slow_clock(
    server: StreamServer,
) -> None:
    run = await finish_many(server, 50, newest=time.time() - 7_200)
    async with server.events(EVENTS, **{"last-event-id": str(int(time.time() * 1000))}) as events:
        jobs = await events.snapshot()
    assert len(jobs) == 51
    assert jobs[-1]["job_id"] == run.spec.job_id


async def test_each_event_id_is_a_position_to_resume_from(server: StreamServer) -> None:
    run = await server.submit_export()
    async with server.events(EVENTS) as events:
        first = await events.next()
        assert first is not None
        await run.report_progress(40)
        ids = [int(first.id)]
        while (event := await events.next()) is not None:
            ids.append(int(event.id))
            if event.job["progress"] == 40:
                break
    assert ids == sorted(ids)
    assert abs(ids[-1] / 1000 - time.time()) < MARGIN_SECONDS


async def test_streams_that_open_together_share_one_read(server: StreamServer) -> None:
    await finish_many(server, 300, newest=time.time())
    initial_states = server.uvicorn.lifespan.state["initial_states"]
    read = await asyncio.gather(*(initial_states.read("local", None) for _ in range(100)))
    assert len({id(opening) for opening in read}) == 1


async def test_a_later_stream_does_not_share_a_read_in_progress(server: StreamServer) -> None:
    initial_states = server.uvicorn.lifespan.state["initial_states"]
    assert await initial_states.read("local", None) is not await initial_states.read("local", None)


async def test_the_first_states_of_a_socket_are_limited(server: StreamServer) -> None:
    await finish_many(server, 1_000, newest=time.time())
    active = await server.submit_export()
    async with connect(f"ws://{server.address}/ws/exports") as socket, asyncio.timeout(10):
        for _ in range(MAX_SNAPSHOT):
            await socket.recv()
        await active.report_failed()
        seen = ""
        while '"status":"error"' not in seen or active.spec.job_id not in seen:
            seen = str(await socket.recv())
            assert active.spec.job_id in seen


async def test_clients_that_do_not_read_do_not_delay_others(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    server = await stack.enter_async_context(open_server(users_settings))
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    await run.report_failed()
    database = server.uvicorn.lifespan.state["database"]
    await copy_finished(database, run.spec.job_id, 1_000, newest=time.time())
    credentials = f"Authorization: {bearer('ada')['authorization']}"
    request = f"GET {EVENTS} HTTP/1.1\r\nHost: {server.address}\r\n{credentials}\r\n\r\n"
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", server.settings.port, limit=1_024)
        stack.callback(writer.close)
        writer.write(request.encode())
    answer = await server.client.get("/api/exports", headers=bearer("eve"))
    assert (answer.status_code, answer.json()["exports"]) == (200, [])


@pytest.mark.parametrize(
    "last_event_id",
    ["", "x", "-1", "7", "9" * 15, "9" * 400, "1.5", " 1", str(1_000 * (10**9 - LOOK_BACK_SECONDS - 1))],
)
def test_an_invalid_or_old_event_id_is_ignored(last_event_id: str) -> None:
    assert position_from(last_event_id, now=10**9) is None


def test_a_position_has_a_margin_for_uncommitted_changes() -> None:
    now = 10.0**9
    since = position_from(str(int(now * 1000)), now)
    assert since is not None
    assert now - 2 * MARGIN_SECONDS <= since <= now - MARGIN_SECONDS
