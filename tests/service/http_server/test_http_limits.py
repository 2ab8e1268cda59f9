"""Requests that are too large or too slow are rejected; all others are served."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.settings import Settings
from tests.support.raw_http import (
    open_connection,
    open_connections,
    pass_time,
    request_head,
    serve_routes,
    wait_received,
)
from tests.support.stream_server import StreamServer, count_rejected, open_server, wait_until

KIB = 1024
CHUNKED = "content-type: application/json\r\ntransfer-encoding: chunked\r\n"
LENGTH = "content-type: application/json\r\ncontent-length: 100\r\n"


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[StreamServer]:
    async with open_server(settings) as server:
        yield server


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        pytest.param(request_head(size=64 * KIB), 200, id="a head of 64 KiB"),
        pytest.param(request_head(size=64 * KIB + 1), 431, id="a byte more"),
        pytest.param(request_head("GET /healthz?" + "q" * 70_000), 431, id="a long request line"),
        pytest.param(request_head(extra="y: z\r\n" * 98), 200, id="100 fields"),
        pytest.param(request_head(extra="y: z\r\n" * 99), 431, id="101 fields"),
        pytest.param(request_head(extra="y: z\r\n" * 10_000), 431, id="10,000 fields"),
        pytest.param(request_head(extra="y" * 70_000 + ": z\r\n"), 431, id="a long name"),
        pytest.param(b"\r\n" * 40_000 + request_head(), 431, id="endless empty lines before it"),
        pytest.param(
            request_head("POST /api/exports", extra=CHUNKED) + b"1;" + b"x" * 140_000,
            431,
            id="a chunk's extension",
        ),
        pytest.param(
            request_head("POST /api/exports", extra=CHUNKED) + b"1\r\n{\r\n0\r\nx: " + b"x" * 140_000,
            431,
            id="a trailer",
        ),
        pytest.param(
            request_head("POST /api/exports", extra=CHUNKED) + b"1\r\n{\r\n0\r\n" + b"x: y\r\n" * 200,
            431,
            id="trailers",
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, id="TLS"),
    ],
)
async def test_a_head_has_at_most_64_kib_and_100_fields(
    server: StreamServer, request_bytes: bytes, expected: int
) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_bytes)
        assert await connection.status() == expected
        await connection.read_all()
    reasons = {400: "malformed_request", 431: "head_too_large"}
    counted = {reason: count_rejected(server, reason) for reason in reasons.values()}
    assert counted == {reason: float(status == expected) for status, reason in reasons.items()}
    assert (await server.client.get("/healthz")).status_code == 200


async def test_the_response_to_an_endless_head_reaches_a_client_that_keeps_sending(
    server: StreamServer,
) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nx: " + b"a" * (16 * KIB * KIB))
        assert await connection.status() == 431
        assert b"head_too_large" in await connection.read_all()


async def test_a_large_pipelined_head_is_rejected_after_the_earlier_responses(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head(close=False) * 2 + request_head(size=70 * KIB))
        answers = await connection.read_all()
    assert [line.split(b" ")[1] for line in answers.split(b"HTTP/1.1")[1:]] == [b"200", b"200", b"431"]


async def test_pipelined_requests_are_all_answered(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head(close=False) * 200 + request_head())
        assert (await connection.read_all()).count(b"HTTP/1.1 200") == 201


@pytest.mark.parametrize("sent", [request_head()[:-2], b"GE", b"\r\n"])
async def test_a_head_that_is_incomplete_after_ten_seconds_is_rejected(
    server: StreamServer, sent: bytes
) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(sent)
        await wait_received(server.uvicorn, len(sent))
        pass_time(server.uvicorn, 9)
        assert len(open_connections(server.uvicorn)) == 1
        pass_time(server.uvicorn, 11)
        assert await connection.status() == 408
    assert count_rejected(server, "request_timeout") == 1


async def test_the_next_head_on_a_connection_has_ten_seconds_too(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head(close=False) + b"GET /h")
        assert await connection.status() == 200
        pass_time(server.uvicorn, 11)
        assert b"HTTP/1.1 408" in await connection.read_all()


async def test_a_connection_that_never_sends_is_closed_without_a_response(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await wait_until(lambda: len(open_connections(server.uvicorn)) == 1)
        pass_time(server.uvicorn, 11)
        assert await connection.read_all() == b""


async def test_a_body_that_stalls_for_thirty_seconds_is_rejected_and_has_no_effect(
    server: StreamServer,
) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head("POST /api/exports", extra=LENGTH) + b'{"type"')
        await wait_until(
            lambda: any(connection.cycle is not None for connection in open_connections(server.uvicorn))
        )
        pass_time(server.uvicorn, 29)
        pass_time(server.uvicorn, 31)
        assert await connection.status() == 408
    assert (await server.client.get("/api/exports")).json()["exports"] == []


async def test_a_slow_body_is_accepted_as_long_as_it_continues(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head("POST /api/webhooks/verify", extra=LENGTH))
        await wait_until(
            lambda: any(connection.cycle is not None for connection in open_connections(server.uvicorn))
        )
        [connection_under_test] = open_connections(server.uvicorn)
        for _ in range(100):
            before = connection_under_test._waiting_since
            await connection.send(b" ")
            await wait_until(lambda: connection_under_test._waiting_since != before)  # noqa: B023 - evaluated at once
            pass_time(server.uvicorn, 20)
        assert await connection.status() == 422


async def test_an_open_stream_is_not_a_stalled_body(server: StreamServer) -> None:
    async with server.events("/api/exports/events") as events:
        await wait_until(lambda: server.stream_count == 1)
        pass_time(server.uvicorn, 3_000)
        await server.submit_export()
        assert await events.next() is not None


async def test_a_stall_of_the_process_restarts_the_clocks_of_clients(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head()[:-2])
        await wait_received(server.uvicorn, len(request_head()) - 2)
        server.uvicorn.check_timeouts(asyncio.get_running_loop().time() + 3_600)
        await connection.send(b"\r\n")
        assert await connection.status() == 200


async def test_a_body_that_the_service_does_not_read_yet_does_not_time_out() -> None:
    read = asyncio.Event()

    async def route(request: Request) -> Response:
        await read.wait()
        return Response(str(len(await request.body())))

    async with (
        serve_routes(Route("/", route, methods=["PUT"])) as (running, port),
        open_connection(port) as connection,
    ):
        await connection.send(request_head("PUT /", extra="content-length: 1000000\r\n") + b"a" * 500_000)
        await wait_until(lambda: any(connection.flow.read_paused for connection in open_connections(running)))
        pass_time(running, 3_600)
        read.set()
        await connection.send(b"a" * 500_000)
        assert (await connection.read_all()).endswith(b"\r\n\r\n1000000")


async def test_a_client_that_waits_for_100_continue_is_not_slow() -> None:
    read = asyncio.Event()

    async def route(request: Request) -> Response:
        await read.wait()
        return Response(await request.body())

    async with (
        serve_routes(Route("/", route, methods=["PUT"])) as (running, port),
        open_connection(port) as connection,
    ):
        await connection.send(request_head("PUT /", extra="content-length: 2\r\nexpect: 100-continue\r\n"))
        await wait_until(
            lambda: any(connection.cycle is not None for connection in open_connections(running))
        )
        pass_time(running, 3_600)
        read.set()
        assert await connection.status() == 100
        await connection.send(b"ok")
        assert (await connection.read_all()).endswith(b"\r\n\r\nok")


async def test_an_http_1_0_client_gets_a_stream_without_chunked_encoding(server: StreamServer) -> None:
    run = await server.submit_export()
    await server.wait_for_call_id(run)
    await run.report_started()
    await run.report_failed()
    path = f"/api/exports/{run.spec.job_id}/events"
    async with open_connection(server.settings.port) as connection:
        await connection.send(f"GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
        answer_head, _, body = (await connection.read_all()).partition(b"\r\n\r\n")
    assert b"chunked" not in answer_head
    assert body.startswith(b"retry: 2000\nid: ")
    assert body.endswith(b"}\n\n")


@pytest.mark.parametrize(
    ("line", "extra", "expected"),
    [
        pytest.param("POST /api/nothing", "", 404, id="a route that does not exist"),
        pytest.param("PUT /api/files/uploads/x/y.mp4", "", 403, id="an upload without a signature"),
        pytest.param("POST /api/exports", "content-type: text/plain\r\n", 415, id="another content type"),
        pytest.param("POST /api/callbacks/job", "content-type: application/json\r\n", 413, id="a callback"),
    ],
)
async def test_a_response_before_the_end_of_a_body_reaches_a_client_that_wants_the_connection_closed(
    server: StreamServer, line: str, extra: str, expected: int
) -> None:
    size = 16 * KIB * KIB
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head(line, extra=f"{extra}content-length: {size}\r\n") + b"a" * size)
        answer = await connection.read_all()
    assert answer.startswith(b"HTTP/1.1 %d " % expected)
    assert b'"code":"' in answer
