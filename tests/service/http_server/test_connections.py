"""Connections are limited in total and per address; idle ones are evicted for new ones."""

import asyncio
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from service.http_server.connections import address_group
from service.http_server.limits import ConnectionLimits, HttpLimits, fit_to_open_files
from service.settings import Settings
from tests.support.raw_http import (
    RawConnection,
    open_connection,
    open_connections,
    request_head,
    wait_received,
)
from tests.support.service_process import clean_environment
from tests.support.stream_server import StreamServer, count_rejected, open_server, wait_until

EVENTS = request_head("GET /api/exports/events", extra="accept: text/event-stream\r\n")
LIST = request_head("GET /api/exports")


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[StreamServer]:
    """At most four connections, three of them from one address, and two in reserve."""
    limits = HttpLimits(connections=ConnectionLimits(total=4, per_address=3, reserved=2))
    async with open_server(settings, limits=limits) as server:
        await server.submit_export()  # so that streams have a first state
        await server.client.aclose()  # its own connection would count
        yield server


async def open_streams(server: StreamServer, stack: AsyncExitStack, *sources: str) -> list[RawConnection]:
    """Open a stream from each address."""
    connections = []
    for source in sources:
        connection = await stack.enter_async_context(open_connection(server.settings.port, source=source))
        await connection.send(EVENTS)
        async with asyncio.timeout(20):
            await connection.reader.readuntil(b"event:")
        connections.append(connection)
    return connections


async def fetch(server: StreamServer, request: bytes, source: str = "127.0.0.1") -> bytes:
    """Send a request and return the complete response."""
    async with open_connection(server.settings.port, source=source) as connection:
        await connection.send(request)
        return await connection.read_all()


async def test_incomplete_requests_are_evicted_for_complete_ones(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    for _ in range(30):
        connection = await stack.enter_async_context(open_connection(server.settings.port))
        await connection.send(request_head()[:-2])
    assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 200")
    assert len(open_connections(server.uvicorn)) <= 4


async def test_the_longest_idle_connection_is_evicted(server: StreamServer, stack: AsyncExitStack) -> None:
    halves = []
    for count in range(4):
        connection = await stack.enter_async_context(
            open_connection(server.settings.port, source=f"127.0.0.{count + 2}")
        )
        await connection.send(LIST[: -2 - count])
        await wait_received(server.uvicorn, len(LIST) - 2 - count)
        halves.append(connection)
    assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 200")
    assert await halves[0].read_all() == b""
    assert count_rejected(server, "evicted") == 1
    await halves[3].send(LIST[-5:])
    assert await halves[3].status() == 200


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        pytest.param(LIST, b"503", id="an ordinary request"),
        pytest.param(request_head("GET /healthz"), b"200", id="liveness"),
        pytest.param(request_head("GET /readyz"), b"200", id="readiness"),
        pytest.param(
            request_head("POST /api/callbacks/x", extra="content-length: 0\r\n"),
            b"415",
            id="a callback",
        ),
    ],
)
async def test_callbacks_and_health_checks_are_served_when_all_slots_are_in_use(
    server: StreamServer, stack: AsyncExitStack, request_bytes: bytes, expected: bytes
) -> None:
    await open_streams(server, stack, "127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2")
    for _ in range(5):
        half = await stack.enter_async_context(open_connection(server.settings.port))
        await half.send(request_head()[:-2])
    answer = await fetch(server, request_bytes)
    assert answer.split(b" ")[1] == expected
    assert b"connection: close" in answer


async def test_the_slot_of_a_closed_connection_is_free_again(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    opened_streams = await open_streams(server, stack, "127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2")
    assert b"too_many_connections" in await fetch(server, LIST)
    opened_streams[0].writer.close()
    await wait_until(lambda: server.stream_count == 3)
    await wait_until(lambda: len(open_connections(server.uvicorn)) == 3)
    assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 200")


async def test_an_event_source_is_told_to_reconnect_where_others_are_rejected(
    server: StreamServer, stack: AsyncExitStack
) -> None:
    await open_streams(server, stack, "127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2")
    answer = await fetch(server, EVENTS)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'retry: 10000\nevent: stream.refused\ndata: {"reason":"too_many_connections"}\n\n' in answer


async def test_one_address_can_not_take_all_slots(server: StreamServer, stack: AsyncExitStack) -> None:
    await open_streams(server, stack, "127.0.0.1", "127.0.0.1", "127.0.0.1")
    before = count_rejected(server, "too_many_connections")
    assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 503")
    assert count_rejected(server, "too_many_connections") == before + 1
    assert (await fetch(server, LIST, "127.0.0.2")).startswith(b"HTTP/1.1 200")


async def test_web_sockets_count_as_connections(server: StreamServer) -> None:
    url = f"ws://127.0.0.1:{server.settings.port}/ws/exports"
    async with connect(url), connect(url), connect(url):
        assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 503")
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 503
        assert (await fetch(server, request_head())).startswith(b"HTTP/1.1 200")
    await wait_until(lambda: not server.uvicorn.server_state.connections)
    assert (await fetch(server, LIST)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("limits", "open_files", "expected"),
    [
        (ConnectionLimits(), 65_536, ConnectionLimits(4_096, 2_048, 32)),
        (ConnectionLimits(), 256, ConnectionLimits(96, 48, 32)),
        (ConnectionLimits(100, 90, 8), 65_536, ConnectionLimits(100, 90, 8)),
        (ConnectionLimits(100, 900, 8), 65_536, ConnectionLimits(100, 100, 8)),
        (ConnectionLimits(), 8, ConnectionLimits(3, 2, 1)),
        (ConnectionLimits(50_000), 4_000, ConnectionLimits(1_968, 984, 32)),
        (ConnectionLimits(50_000), 20_000, ConnectionLimits(17_920, 8_960, 32)),
    ],
)
def test_the_limits_fit_the_number_of_open_files(
    limits: ConnectionLimits, open_files: int, expected: ConnectionLimits
) -> None:
    assert fit_to_open_files(limits, open_files) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(host: str, expected: str) -> None:
    assert address_group(host) == expected


async def test_400_incomplete_requests_do_not_block_a_process_with_256_open_files(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    settings = clean_environment(PORT=str(port), DATA_DIR=str(tmp_path / "var"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service.cli.main", "serve"),
        env=settings,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
    )
    try:
        await _wait_until_served(port)
        async with AsyncExitStack() as stack:
            for _ in range(400):
                half = await stack.enter_async_context(open_connection(port))
                await half.send(request_head()[:-2])
            async with open_connection(port) as connection:
                await connection.send(LIST)
                assert await connection.status() == 200
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _wait_until_served(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with open_connection(port) as connection:
                    await connection.send(request_head())
                    await connection.read_all()
                    return
            except OSError:
                await asyncio.sleep(0.05)
