"""A reader that takes nothing holds one state at most, delays no other, and never misses the end, on either road."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from callbacks.envelope import Phase
from service.fanout.hub import Hub
from service.fanout.publications import Publication
from service.jobs.models import Job, Status
from service.settings import Settings
from tests.support.fakes import FakeRun
from tests.support.job_factory import submission_for
from tests.support.raw_http import RawConnection, request_head
from tests.support.stream_server import Road, StreamServer, open_server, wait_until

LARGE = "x" * 100_000
MANY = 150
"""So many large states fill the buffers of both sides."""
HANDSHAKE = (
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
)


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(settings, road=road))


def hub_of(server: StreamServer) -> Hub:
    hub: Hub = server.uvicorn.lifespan.state["hub"]
    return hub


def large_state(run: FakeRun, sequence: int, status: Status = Status.PROCESSING) -> Publication:
    job = Job(
        **submission_for(run.spec.job_id, user_id="local").__dict__,
        status=status,
        phase=Phase.PROCESSING,
        runner="local",
        created_at=0.0,
        sequence=sequence,
    )
    body = json.dumps({"sequence": sequence, "message": LARGE}).encode()
    return Publication(job.job_id, "local", sequence, job.event_type, body, job)


@asynccontextmanager
async def open_stalled(server: StreamServer, path: str, transport: str) -> AsyncIterator[RawConnection]:
    """Open a stream of which only the first bytes are read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.port, limit=2_048)
    extra = HANDSHAKE if transport == "socket" else ""
    writer.write(request_head(f"GET {path}", close=False, extra=extra))
    try:
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b'"sequence"')
        yield RawConnection(reader, writer)
    finally:
        writer.close()


def paths_of(run: FakeRun) -> dict[str, str]:
    return {
        "events": f"/api/exports/{run.spec.job_id}/events",
        "user events": "/api/exports/events",
        "socket": f"/ws/export/{run.spec.job_id}",
        "user socket": "/ws/exports",
    }


@pytest.mark.parametrize("name", ["events", "user events", "socket", "user socket"])
async def test_a_stalled_reader_gets_the_newest_state_and_the_end_once_it_reads(
    server: StreamServer, name: str
) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    hub, end = hub_of(server), 1_000 + MANY
    async with open_stalled(server, paths_of(run)[name], name.rpartition(" ")[2]) as stalled:
        for sequence in range(1_000, end):
            hub.publish(large_state(run, sequence))
            await asyncio.sleep(0)
        hub.publish(large_state(run, end, Status.ERROR))
        received = b""
        async with asyncio.timeout(30):
            while b'"sequence": %d' % end not in received:
                received = received[-200_000:] + await stalled.reader.read(65_536)
                assert received
    await wait_until(lambda: server.stream_count == 0)


async def test_a_stalled_reader_is_skipped(server: StreamServer) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    hub = hub_of(server)
    async with open_stalled(server, paths_of(run)["events"], "events") as stalled:
        async with server.events(paths_of(run)["events"]) as events:
            await events.next()
            for sequence in range(1_000, 1_000 + MANY):
                hub.publish(large_state(run, sequence))
                event = await events.next()
                assert event is not None
                assert event.id == str(sequence)
            hub.publish(large_state(run, 2_000, Status.ERROR))
            assert [event.id for event in await events.read_rest()] == ["2000"]
        received = await stalled.read_all()
    assert received.count(b"event: ") < MANY
    assert received.count(b"\nid: 2000\n") == 1


async def test_a_reader_that_takes_nothing_for_30_seconds_is_closed(
    settings: Settings, stack: AsyncExitStack
) -> None:
    server = await stack.enter_async_context(open_server(settings))
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    timer = server.uvicorn.lifespan.state["stream_timer"]
    paths = paths_of(run)
    for name in paths:
        await stack.enter_async_context(open_stalled(server, paths[name], name.rpartition(" ")[2]))
    async with server.events(paths["events"]) as events:
        await events.next()
        for sequence in range(1_000, 1_000 + MANY):
            hub_of(server).publish(large_state(run, sequence))
            await events.next()
        for _ in range(29):
            timer.tick()
        assert server.stream_count == len(paths) + 1
        for _ in range(2):
            timer.tick()
        assert server.stream_count == 1
        hub_of(server).publish(large_state(run, 2_000, Status.ERROR))
        assert len(await events.read_rest()) == 1
