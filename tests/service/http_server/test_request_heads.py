"""A request is read in one way only: no head that proxies read otherwise, and never two requests in one."""

import re
from collections.abc import AsyncIterator

import pytest

from service.settings import Settings
from tests.service.conftest import token
from tests.support.raw_http import open_connection, request_head
from tests.support.stream_server import StreamServer, open_server

JSON = "content-type: application/json\r\n"
CHUNKED = f"{JSON}transfer-encoding: chunked\r\n"
NEXT = request_head()
UPGRADE = "connection: upgrade\r\nupgrade: {}\r\n"
HANDSHAKE = UPGRADE.format("websocket") + (
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[StreamServer]:
    async with open_server(settings) as server:
        yield server


async def fetch(server: StreamServer, request: bytes) -> bytes:
    """Send bytes, and return all responses up to the end of the connection."""
    async with open_connection(server.settings.port) as connection:
        await connection.send(request)
        return await connection.read_all()


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", 400, b"malformed_request", id="no host"),
        pytest.param(request_head(extra="host: other\r\n"), 400, b"malformed_request", id="two hosts"),
        pytest.param(
            request_head(extra="authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            400,
            b"malformed_request",
            id="two tokens",
        ),
        pytest.param(
            request_head("POST /api/callbacks/x", extra="webhook-id: a\r\nwebhook-id: b\r\n"),
            400,
            b"malformed_request",
            id="two ids of a callback",
        ),
        pytest.param(request_head("CONNECT /healthz"), 400, b"malformed_request", id="a tunnel"),
        pytest.param(
            request_head("POST /api/exports", extra="transfer-encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
            501,
            b"transfer_coding_not_supported",
            id="a coded body",
        ),
        pytest.param(
            b"GET /healthz HTTP/2.0\r\nhost: localhost\r\n\r\n",
            505,
            b"http_version_not_supported",
            id="another version",
        ),
    ],
)
async def test_an_ambiguous_head_is_rejected_and_nothing_behind_it_is_read(
    server: StreamServer, request_bytes: bytes, status: int, code: bytes
) -> None:
    answers = await fetch(server, request_bytes + NEXT)
    assert statuses(answers) == [status]
    assert b'"code":"%b"' % code in answers


async def test_a_trailer_is_no_field_of_the_head(users_settings: Settings) -> None:
    body = b"2\r\n{}\r\n0\r\n%b\r\n\r\n"
    trailer = f"authorization: Bearer {token('ada')}".encode()
    callback = request_head("POST /api/callbacks/x", close=False, extra="transfer-encoding: chunked\r\n")
    async with open_server(users_settings) as server:
        answers = await fetch(
            server,
            request_head("POST /api/exports", close=False, extra=CHUNKED)
            + body % trailer
            + callback
            + body % b"content-type: application/json"
            + NEXT,
        )
    assert statuses(answers) == [401, 415, 200]


async def test_a_trailer_may_end_the_connection(server: StreamServer) -> None:
    head = request_head("POST /api/exports", close=False, extra=CHUNKED)
    answers = await fetch(server, head + b"2\r\n{}\r\n0\r\nconnection: close\r\n\r\n" + NEXT)
    assert statuses(answers) == [422]


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_the_body_of_a_request_for_an_upgrade_is_not_the_next_request(
    server: StreamServer, upgrade: str
) -> None:
    hidden = request_head("DELETE /api/exports/x")
    extra = f"{JSON}{UPGRADE.format(upgrade)}content-length: {len(hidden)}\r\n"
    head = request_head("POST /api/exports", close=False, extra=extra)
    chunked = request_head("POST /api/exports", close=False, extra=CHUNKED + UPGRADE.format(upgrade))
    answers = await fetch(server, head + hidden + chunked + b"2\r\n{}\r\n0\r\n\r\n" + NEXT)
    assert statuses(answers) == [422, 422, 200]


async def test_a_handshake_waits_for_the_responses_to_earlier_requests(server: StreamServer) -> None:
    handshake = request_head("GET /ws/exports", close=False, extra=HANDSHAKE)
    answers = await fetch(server, request_head("GET /api/exports", close=False) + handshake)
    assert statuses(answers) == [200, 400]


@pytest.mark.parametrize(
    ("handshake", "status", "code"),
    [
        pytest.param(HANDSHAKE.replace("13", "12"), 400, b"invalid_handshake", id="another version"),
        pytest.param(UPGRADE.format("websocket"), 400, b"invalid_handshake", id="no key"),
        pytest.param(HANDSHAKE + "origin: a\r\norigin: b\r\n", 400, b"invalid_handshake", id="two origins"),
        pytest.param(HANDSHAKE + f"cookie: {'a' * 9_000}\r\n", 431, b"head_too_large", id="a long line"),
    ],
)
async def test_a_handshake_that_is_not_valid_is_told_why(
    server: StreamServer, handshake: str, status: int, code: bytes
) -> None:
    answers = await fetch(server, request_head("GET /ws/exports", close=False, extra=handshake))
    assert statuses(answers) == [status]
    assert b"application/problem+json" in answers
    assert b'"code":"%b"' % code in answers


async def test_a_handshake_of_several_connection_fields_is_accepted(server: StreamServer) -> None:
    head = request_head("GET /ws/exports", close=False, extra=HANDSHAKE + "connection: keep-alive\r\n")
    async with open_connection(server.settings.port) as connection:
        await connection.send(head)
        assert await connection.status() == 101


@pytest.mark.parametrize(
    ("line", "extra", "status"),
    [
        ("POST /nothing", "content-length: 50\r\n", 404),
        ("PUT /api/files/uploads/x/y.mp4", "content-length: 50\r\n", 403),
        ("POST /api/exports", "content-length: 50\r\n", 415),
        ("POST /api/exports", f"{JSON}content-length: 99999999\r\n", 413),
    ],
)
async def test_a_connection_ends_if_a_client_is_answered_before_it_sends_its_body(
    server: StreamServer, line: str, extra: str, status: int
) -> None:
    head = request_head(line, close=False, extra=f"expect: 100-continue\r\n{extra}")
    async with open_connection(server.settings.port) as connection:
        await connection.send(head)
        answers = await connection.read_all()
    assert statuses(answers) == [status]
    assert b"\r\nconnection: close\r\n" in answers


async def test_an_http_1_0_client_is_sent_no_100(server: StreamServer) -> None:
    head = request_head("POST /api/exports", extra=f"{JSON}expect: 100-continue\r\ncontent-length: 2\r\n")
    answers = await fetch(server, head.replace(b"HTTP/1.1", b"HTTP/1.0") + b"{}")
    assert statuses(answers) == [422]
