"""The check of streams knows a proxy that holds events back from one that passes them on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.cli.server.tokens import create_token
from service.doctor.streams import check_streams
from service.settings import Settings
from service.startup.findings import Level
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on

SHORT_SECONDS = 0.3
HEAD = b"HTTP/1.1 %s\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b"e\r\ndata: hello\n\n\r\n"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def proxy_that(answer: Answer) -> AsyncIterator[str]:
    """Run a server that answers every request in the same way; yield its URL."""
    has_ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer)
        await has_ended.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        has_ended.set()
        server.close()


def settings_with(url: str, data_dir: Path) -> Settings:
    return settings_on(1, data_dir, public_url=url)


async def send(writer: asyncio.StreamWriter, *parts: bytes, status: bytes = b"200 OK") -> None:
    writer.write(b"".join((HEAD % status, *parts)))
    await writer.drain()


async def test_events_that_arrive_while_the_stream_is_open_are_enough(data_dir: Path) -> None:
    async with proxy_that(lambda writer: send(writer, EVENT)) as url:
        finding = await check_streams(settings_with(url, data_dir), None)
    assert finding.level is Level.OK


@pytest.mark.parametrize("sends_head", [True, False], ids=["after its head", "whole"])
async def test_a_proxy_that_holds_events_back_is_found_out(data_dir: Path, sends_head: bool) -> None:
    async def hold_back(writer: asyncio.StreamWriter) -> None:
        if sends_head:
            await send(writer)

    async with proxy_that(hold_back) as url:
        finding = await check_streams(settings_with(url, data_dir), None, seconds=SHORT_SECONDS)
    assert (finding.level, "buffering" in finding.message) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("status", "level", "said"),
    [
        (b"502 Bad Gateway", Level.FAIL, "status 502"),
        (b"401 Unauthorized", Level.WARN, "set FRAMEHOOK_TOKEN"),
    ],
)
async def test_a_refusal_is_named(data_dir: Path, status: bytes, level: Level, said: str) -> None:
    async with proxy_that(lambda writer: send(writer, status=status)) as url:
        finding = await check_streams(settings_with(url, data_dir), None)
    assert (finding.level, said in finding.message) == (level, True)


async def test_a_proxy_that_leads_to_another_address_is_named_with_it(data_dir: Path) -> None:
    status = b"301 Moved\r\nlocation: https://video.example/api/exports/events"
    async with proxy_that(lambda writer: send(writer, status=status)) as url:
        finding = await check_streams(settings_with(url, data_dir), None)
    assert (finding.level, "redirects to https://video.example;" in finding.message) == (Level.FAIL, True)


async def test_a_stream_that_ends_without_an_event_is_named(data_dir: Path) -> None:
    async with proxy_that(lambda writer: send(writer, b"0\r\n\r\n")) as url:
        finding = await check_streams(settings_with(url, data_dir), None)
    assert (finding.level, "without an event" in finding.message) == (Level.FAIL, True)


async def test_an_address_where_nothing_listens_is_named(data_dir: Path) -> None:
    finding = await check_streams(settings_with(f"http://127.0.0.1:{free_port()}", data_dir), None)
    assert (finding.level, "PUBLIC_URL" in finding.message) == (Level.FAIL, True)


async def test_a_service_with_users_takes_the_token_that_is_made_for_the_check(data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret="s" * 40, auth_audience="framehook")
    async with serve_app(settings, FakeRunner()):
        finding = await check_streams(settings, create_token(settings, "framehook-doctor", 0.1))
    assert finding.level is Level.OK, finding.message
