"""The fast road on the wire: the same bytes as the plain one, and connections that end and go on as they should."""

import asyncio
import itertools
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import Engine, event
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from service.http_server.websocket import CountedWebSocket
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.fakes import FakeRun
from tests.support.raw_http import RawConnection, open_connection, open_connections, request_head
from tests.support.stream_calls import events_path, receive_job, socket_url
from tests.support.stream_server import StreamServer, open_server, wait_until


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


def open_sockets(server: StreamServer) -> list[CountedWebSocket]:
    return [item for item in server.uvicorn.server_state.connections if isinstance(item, CountedWebSocket)]


async def read_chunks(connection: RawConnection) -> bytes:
    """Read the chunks of a response up to the last one."""
    body = b""
    async with asyncio.timeout(20):
        while size := int(await connection.reader.readuntil(b"\r\n"), 16):
            body += await connection.reader.readexactly(size)
            assert await connection.reader.readexactly(2) == b"\r\n"
        assert await connection.reader.readexactly(2) == b"\r\n"
    return body


async def play(run: FakeRun) -> None:
    await run.report_started()
    for progress in (20, 40, 60):
        await run.report_progress(progress)
    await run.report_failed()


@pytest.mark.parametrize("path", ["export", "user"])
async def test_both_roads_carry_the_same_events(
    server: StreamServer, stack: AsyncExitStack, path: str
) -> None:
    """A client of HTTP/1.0 gets no chunks, and so the plain road, where states may be left out."""
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    head = request_head(f"GET {events_path(run) if path == 'export' else '/api/exports/events'}", close=False)
    direct, plain = [await stack.enter_async_context(open_connection(server.settings.port)) for _ in range(2)]
    await direct.send(head)
    await plain.send(head.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"transfer-encoding: chunked" in await direct.read_head()
    await plain.read_head()
    first = (await direct.reader.readuntil(b"\n\n\r\n")).partition(b"\r\n")[2][:-2]
    assert _drop_positions(first, path) == _drop_positions(await plain.reader.readuntil(b"\n\n"), path)
    await play(run)
    if path == "user":
        server.uvicorn.lifespan.state["hub"].close()
    by_chunks = _drop_positions(await read_chunks(direct), path)
    by_close = _drop_positions(await plain.read_all(), path)
    assert set(by_close) <= set(by_chunks)
    assert by_chunks[-2:] == by_close[-2:]
    assert by_chunks[-2].count(b"event: export.failed\n") == 1


def _drop_positions(body: bytes, path: str) -> list[bytes]:
    """Return the events, without the ids of a user's stream, which say when they were sent."""
    lines = body.splitlines(keepends=True)
    return b"".join(line for line in lines if path == "export" or not line.startswith(b"id:")).split(b"\n\n")


async def test_a_connection_serves_the_next_request_after_a_stream(server: StreamServer) -> None:
    run = await server.submit_export()
    stream, listing = (
        request_head(f"GET {path}", close=False) for path in (events_path(run), "/api/exports")
    )
    async with open_connection(server.settings.port) as connection:
        for _ in range(2):
            await connection.send(stream)
            await connection.read_head()
            await connection.reader.readuntil(b"\n\n")
            await connection.send(listing)  # while the stream is open
            await wait_until(lambda: server.stream_count == 1)
            await run.report_failed()
            assert b"export.failed" in b"\r\n" + await _rest_of_chunks(connection)
            assert await connection.status() == 200
            await connection.reader.readuntil(b"]")
            await connection.reader.readuntil(b"}")
            await server.client.post(f"/api/exports/{run.spec.job_id}/retry")
            run = await server.next_run()
    await wait_until(lambda: len(open_connections(server.uvicorn)) == 1)  # of the client


async def _rest_of_chunks(connection: RawConnection) -> bytes:
    await connection.reader.readexactly(2)  # the end of the first chunk
    return await read_chunks(connection)


async def test_quiet_streams_are_kept_alive_by_comments_every_15_seconds(server: StreamServer) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    timer = server.uvicorn.lifespan.state["stream_timer"]
    async with server.events(events_path(run)) as events:
        await events.next()
        await wait_until(lambda: server.stream_count == 1)
        for _ in range(31):
            timer.tick()
        await run.report_failed()
        assert [event.type for event in await events.read_rest()] == ["export.failed"]
        assert events.comments == [": keep-alive"] * 2


async def test_a_socket_is_pinged_and_closed_if_it_does_not_answer(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    timer = server.uvicorn.lifespan.state["stream_timer"]
    socket = await stack.enter_async_context(connect(socket_url(server, run), ping_interval=None))
    await receive_job(socket)
    for _ in range(3):
        for _ in range(20):
            timer.tick()
        (protocol,) = open_sockets(server)
        await wait_until(lambda: protocol.pending_ping_payload is None)  # noqa: B023 - awaited here
    socket.transport.pause_reading()
    for _ in range(40):
        timer.tick()
    socket.transport.resume_reading()
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011
    await wait_until(lambda: server.stream_count == 0)


async def test_a_socket_answers_pings_and_fragments_and_closes_as_the_protocol_says(
    server: StreamServer,
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    async with connect(socket_url(server, run)) as socket, asyncio.timeout(20):
        assert socket.protocol.extensions == []  # its frames are shared, so they are not compressed
        await receive_job(socket)
        await (await socket.ping(b"are you there"))
        await socket.send(iter(["pi", "ng"]))
        assert await socket.recv() == "pong"
        await run.report_progress(30)
        assert (await receive_job(socket))["progress"] == 30
        await socket.close(1000)
        assert socket.close_code == 1000
    await wait_until(lambda: server.stream_count == 0)
    await wait_until(
        lambda: not [item for item in server.uvicorn.server_state.connections if hasattr(item, "conn")]
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_stream_costs_no_query_if_the_export_is_watched_already(
    request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack, database: str
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    await delete_all_rows(url)
    stack.push_async_callback(delete_all_rows, url)
    server = await stack.enter_async_context(open_server(settings.model_copy(update={"database_url": url})))
    state = server.uvicorn.lifespan.state
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    await wait_until(lambda: state["hub"].gets_every_change)
    queries: list[str] = []

    def record(*arguments: Any) -> None:
        queries.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", record)
    stack.callback(event.remove, Engine, "before_cursor_execute", record)
    async with server.events(events_path(run)) as first:
        await first.next()
        assert [query for query in queries if "export_jobs.job_id =" in query]
        await run.report_progress(35)
        queries.clear()
        async with server.events(events_path(run)) as second, connect(socket_url(server, run)) as socket:
            latest = await second.next()
            assert latest is not None
            assert latest.job["progress"] == (await receive_job(socket))["progress"] == 35
        assert not [query for query in queries if "export_jobs.job_id =" in query]
    await wait_until(lambda: server.stream_count == 0)
    assert state["hub"].find_newest(run.spec.job_id, "local") is None


async def test_a_change_by_another_replica_reaches_the_state_that_the_hub_has(
    postgresql_url: str, settings: Settings, stack: AsyncExitStack
) -> None:
    await delete_all_rows(postgresql_url)
    stack.push_async_callback(delete_all_rows, postgresql_url)
    shared = settings.model_copy(update={"database_url": postgresql_url})
    here, there = [await stack.enter_async_context(open_server(shared)) for _ in range(2)]
    hub = here.uvicorn.lifespan.state["hub"]
    await there.post_export()
    spec = (await here.client.get("/api/exports/active")).json()["exports"][0]
    async with here.events(f"/api/exports/{spec['job_id']}/events") as events:
        await events.next()
        await wait_until(lambda: hub.find_newest(spec["job_id"], "local") is not None)
        await there.client.delete(f"/api/exports/{spec['job_id']}")
        assert (await events.read_rest())[-1].type == "export.cancelled"


async def test_the_ends_of_a_stream_release_its_slot_and_subscription(server: StreamServer) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    state = server.uvicorn.lifespan.state
    for number in itertools.count():
        async with server.events(events_path(run)) as events, server.events("/api/exports/events") as of_user:
            await events.next()
            await of_user.snapshot()
            await wait_until(lambda: len(state["stream_timer"].streams) == 2)
        await wait_until(lambda: server.stream_count == 0)
        if number == 2:
            break
    assert state["stream_slots"]._open.total() == 0
    assert not state["stream_timer"].streams
    assert not state["hub"]._broadcasts


async def test_a_stream_of_a_connection_that_is_gone_is_not_kept(server: StreamServer) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    for _ in range(20):
        async with open_connection(server.settings.port) as connection:
            await connection.send(request_head(f"GET {events_path(run)}", close=False))
            connection.writer.transport.abort()
    await wait_until(lambda: len(open_connections(server.uvicorn)) <= 1)
    await wait_until(lambda: server.stream_count == 0)
    assert server.uvicorn.lifespan.state["stream_slots"]._open.total() == 0
