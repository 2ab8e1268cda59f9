"""Clients that send no more, or leave, get what they asked for or free what they held."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from websockets.asyncio.client import connect

from service.http_server.websocket import CountedWebSocket
from service.settings import Settings
from tests.support.raw_http import open_connection, open_connections, pass_time, request_head, serve_routes
from tests.support.stream_calls import wait_close_code
from tests.support.stream_server import StreamServer, open_server, wait_until


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[StreamServer]:
    async with open_server(settings) as server:
        yield server


async def test_a_client_that_has_said_all_gets_every_response(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head("GET /api/exports", close=False) * 3)
        connection.writer.write_eof()
        assert (await connection.read_all()).count(b"HTTP/1.1 200") == 3
    await wait_until(lambda: not server.uvicorn.server_state.connections)


async def test_a_malformed_request_is_answered_though_its_client_sends_no_more(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head("GET /api/exports", close=False) + b"GET / NONSENSE\r\n\r\n")
        connection.writer.write_eof()
        answers = await connection.read_all()
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


async def test_a_stream_ends_if_its_client_sends_no_more(server: StreamServer) -> None:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request_head("GET /api/exports/events"))
        await connection.reader.readuntil(b"event:")
        connection.writer.write_eof()
        await connection.read_all()
    await wait_until(lambda: server.stream_count == 0)


async def test_a_stream_that_begins_after_its_client_has_ended_is_closed() -> None:
    may_begin = asyncio.Event()

    async def count_up() -> AsyncIterator[str]:
        for number in itertools.count():
            yield f"{number} "
            await asyncio.sleep(0)

    async def stream(_request: Request) -> Response:
        await may_begin.wait()
        return StreamingResponse(count_up())

    async with serve_routes(Route("/", stream)) as (running, port), open_connection(port) as connection:
        await connection.send(request_head("GET /", close=False))
        connection.writer.write_eof()
        await wait_until(lambda: any(item._has_ended for item in open_connections(running)))
        may_begin.set()
        await connection.read_head()
        pass_time(running, 1)
        await connection.read_all()


async def test_a_request_before_others_hears_that_its_client_has_left() -> None:
    messages: list[str] = []
    is_waiting = asyncio.Event()

    async def wait(request: Request) -> Response:
        await request.body()
        is_waiting.set()
        messages.append((await request.receive())["type"])
        return Response()

    async with serve_routes(Route("/", wait, methods=["PUT"])) as (_, port):
        async with open_connection(port) as connection:
            head = request_head("PUT /", close=False, extra="content-length: 1\r\n")
            await connection.send(head + b"a" + head + b"b" + head)
            await is_waiting.wait()
        await wait_until(lambda: bool(messages))
    assert messages == ["http.disconnect"]


async def test_nothing_behind_the_last_request_of_a_connection_is_served() -> None:
    served: list[str] = []
    may_answer = asyncio.Event()

    async def close(request: Request) -> Response:
        served.append(request.method)
        await may_answer.wait()
        return Response(headers={"connection": "close"})

    route = Route("/", close, methods=["POST", "DELETE"])
    async with serve_routes(route) as (running, port), open_connection(port) as connection:
        first = request_head("POST /", close=False, extra="content-length: 0\r\n")
        await connection.send(first + request_head("DELETE /", extra="content-length: 9\r\n"))
        await wait_until(lambda: any(item.pipeline for item in open_connections(running)))
        may_answer.set()
        assert (await connection.read_all()).count(b"HTTP/1.1") == 1
    assert served == ["POST"]


async def test_a_client_that_takes_no_pongs_sends_no_more_pings(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports"):
        (protocol,) = [
            item for item in server.uvicorn.server_state.connections if isinstance(item, CountedWebSocket)
        ]
        await wait_until(lambda: protocol.stream is not None and protocol.stream.goes_on)
        protocol.pause_writing()
        assert not protocol.transport.is_reading()
        protocol.resume_writing()
        assert protocol.transport.is_reading()


async def test_a_message_of_endless_fragments_closes_the_socket(server: StreamServer) -> None:
    async with connect(f"ws://{server.address}/ws/exports") as client:
        await client.send([""] * 1_100)
        assert await wait_close_code(client) == 1009
