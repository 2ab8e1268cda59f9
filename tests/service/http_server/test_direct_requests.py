"""Callbacks that the connection hands over whole are answered as by ASGI: in order, within limits, once committed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.support.fakes import FakeRun
from tests.support.raw_http import RawConnection, open_connection, open_connections
from tests.support.stream_server import StreamServer, open_server, wait_until

MAX_BODY = 64 * 1024


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[StreamServer]:
    async with open_server(settings) as server:
        yield server


@pytest.fixture
async def run(server: StreamServer) -> FakeRun:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    await run.report_started()
    return run


def request_for(run: FakeRun, body: bytes, *, extra: str = "", version: str = "1.1") -> bytes:
    headers = run.sign(body) | {"host": "localhost", "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {run.url} HTTP/{version}\r\n{lines}{extra}\r\n".encode() + body


def next_progress(run: FakeRun, **report: object) -> bytes:
    run.step += 1
    return run.body("export.progress", **report)


async def read_response(connection: RawConnection) -> tuple[int, bytes]:
    head = await connection.read_head()
    (length,) = [
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    return int(head.split(b" ")[1]), await connection.reader.readexactly(length)


async def test_a_connection_reports_again_and_again(server: StreamServer, run: FakeRun) -> None:
    before = (await server.get_export(run))["sequence"]
    async with open_connection(server.settings.port) as connection:
        for number in range(1, 4):
            await connection.send(request_for(run, next_progress(run)))
            assert await read_response(connection) == (200, b'{"sequence":%d}' % (before + number))
    assert (await server.get_export(run))["sequence"] == before + 3


async def test_a_body_may_arrive_byte_by_byte(server: StreamServer, run: FakeRun) -> None:
    async with open_connection(server.settings.port) as connection:
        for byte in request_for(run, next_progress(run)):
            await connection.send(bytes([byte]))
        assert (await read_response(connection))[0] == 200


async def test_pipelined_callbacks_are_answered_in_order(server: StreamServer, run: FakeRun) -> None:
    before = (await server.get_export(run))["sequence"]
    valid = [request_for(run, next_progress(run)) for _ in range(2)]
    forged = request_for(run, next_progress(run)).replace(b"v1,", b"v1,A")
    health = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with open_connection(server.settings.port) as connection:
        await connection.send(valid[0] + health + forged + valid[1] + health)
        statuses = [(await read_response(connection))[0] for _ in range(5)]
    assert statuses == [200, 200, 401, 200, 200]
    assert (await server.get_export(run))["sequence"] == before + 2


async def test_hundreds_of_pipelined_callbacks_that_are_refused_at_once_are_all_answered(
    server: StreamServer, run: FakeRun
) -> None:
    refused = b"POST /api/callbacks/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_for(run, next_progress(run)) + refused * 900)
        statuses = [(await read_response(connection))[0] for _ in range(901)]
    assert statuses == [200] + [415] * 900


async def test_a_body_that_is_too_large_is_refused_before_its_end(server: StreamServer, run: FakeRun) -> None:
    head = request_for(run, b"").replace(b"content-length: 0", b"content-length: %d" % (10 * MAX_BODY))
    async with open_connection(server.settings.port) as connection:
        await connection.send(head + b" " * MAX_BODY)
        await connection.send(b" ")
        assert (await read_response(connection))[0] == 413


@pytest.mark.parametrize(
    ("extra", "version"),
    [
        pytest.param("expect: 100-continue\r\n", "1.1", id="it waits for 100"),
        pytest.param("", "1.0", id="HTTP/1.0"),
        pytest.param("connection: close\r\n", "1.1", id="its last request"),
    ],
)
async def test_every_client_is_answered(server: StreamServer, run: FakeRun, extra: str, version: str) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_for(run, next_progress(run), extra=extra, version=version))
        if "100" in extra:
            assert await connection.status() == 100
            assert (await read_response(connection))[0] == 200
            return
        response = await connection.read_all()
    assert response.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in response.lower()


async def test_a_client_that_leaves_before_the_commit_is_stored_all_the_same(
    server: StreamServer, run: FakeRun
) -> None:
    before = (await server.get_export(run))["sequence"]
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_for(run, next_progress(run)))
    async with asyncio.timeout(20):
        while (await server.get_export(run))["sequence"] == before:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_a_shutdown_answers_what_has_arrived(server: StreamServer, run: FakeRun) -> None:
    async with open_connection(server.settings.port) as connection:
        async with server.uvicorn.lifespan.state["database"].transaction():  # keeps the batch waiting
            await connection.send(request_for(run, next_progress(run)))
            await wait_until(lambda: _is_answering(server))
            stopping = asyncio.create_task(server.stop())
            await wait_until(lambda: not server.uvicorn.servers[0].is_serving())
        response = await connection.read_all()
        await stopping
    assert response.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in response


def _is_answering(server: StreamServer) -> bool:
    return any(connection._is_answering() for connection in open_connections(server.uvicorn))
