"""Pages of allowed origins send any request and read every response; others read none."""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute

from service.api.origins.cors import CrossOrigin
from service.api.origins.policy import OriginPolicy
from service.api.routes import ROUTES
from service.http_server.limits import ConnectionLimits, HttpLimits
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem
from tests.support.raw_http import open_connection, request_head
from tests.support.stream_server import StreamServer, open_server

pytestmark = pytest.mark.anyio
PAGE = "https://app.example"
OTHER = "https://other.example"
JSON = "content-type: application/json\r\n"
PATHS = sorted({route.path for route in ROUTES if isinstance(route, Route)} | {"/api/unknown"})


@pytest.fixture
async def sharing_app(users_settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """The service of several users, whose pages are of one origin."""
    settings = users_settings.model_copy(update={"allowed_origins": (PAGE,)})
    return await stack.enter_async_context(open_app(settings, FakeRunner()))


@pytest.fixture
async def open_app_to_all(users_settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """The service with ALLOWED_ORIGINS=*, and one origin that is named as well."""
    settings = users_settings.model_copy(update={"allowed_origins": ("*", PAGE)})
    return await stack.enter_async_context(open_app(settings, FakeRunner()))


def assert_readable(answer: httpx.Response, origin: str = PAGE) -> None:
    """Assert that a page of the origin may read the response and its headers."""
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {
        *("etag", "location", "retry-after", "content-range", "accept-ranges", "content-disposition"),
        *("www-authenticate", "x-request-id", "ratelimit", "ratelimit-policy", "ratelimit-remaining"),
    } <= exposed


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_may_send_any_method_and_header_to_any_path(sharing_app: AppHarness, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        wants = {
            "Origin": PAGE,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,x-anything,if-range",
        }
        answer = await sharing_app.client.options(path, headers=wants)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-allow-headers"] == "authorization,x-anything,if-range"
        assert method in answer.headers["access-control-allow-methods"].split(", ")
        assert int(answer.headers["access-control-max-age"]) > 0
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("method", "path", "status", "headers"),
    [
        pytest.param("GET", "/api/exports", 200, bearer("ada"), id="a list"),
        pytest.param("GET", "/api/exports", 401, {}, id="no token"),
        pytest.param("GET", "/api/exports/none", 404, bearer("ada"), id="an unknown export"),
        pytest.param("GET", "/nothing", 404, {}, id="an unknown path"),
        pytest.param("PUT", "/api/exports", 405, {}, id="a wrong method"),
        pytest.param("POST", "/api/exports", 415, bearer("ada"), id="a wrong type"),
        pytest.param("GET", "/api/exports?limit=x", 422, bearer("ada"), id="a wrong query"),
        pytest.param("GET", "/api/files/a.mp4", 403, {}, id="a file without a token"),
        pytest.param("OPTIONS", "/api/exports", 204, {}, id="the methods of a path"),
    ],
)
async def test_a_page_reads_every_response(
    sharing_app: AppHarness, method: str, path: str, status: int, headers: dict[str, str]
) -> None:
    answer = await sharing_app.client.request(method, path, headers=headers | {"Origin": PAGE})
    assert answer.status_code == status
    assert_readable(answer)
    elsewhere = await sharing_app.client.request(method, path, headers=headers | {"Origin": OTHER})
    assert elsewhere.status_code == status
    assert not [name for name in elsewhere.headers if name.startswith("access-control-")]
    assert "Origin" in elsewhere.headers["vary"]


async def test_a_page_reads_the_answer_to_an_unexpected_error(sharing_app: AppHarness) -> None:
    sharing_app.state["authenticator"] = None  # type: ignore[typeddict-item]
    transport = sharing_app.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    transport.raise_app_exceptions = False
    answer = await sharing_app.client.get("/api/exports", headers=bearer("ada") | {"Origin": PAGE})
    assert answer.status_code == 500
    assert_readable(answer)


async def test_other_pages_are_refused_and_the_log_names_the_setting(
    sharing_app: AppHarness, caplog: pytest.LogCaptureFixture
) -> None:
    wants = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    with caplog.at_level(logging.WARNING, "framehook.origins"):
        for _ in range(3):
            answer = await sharing_app.client.options("/api/exports", headers=wants)
            assert_problem(answer, 400)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
    (record,) = caplog.records
    assert OTHER in record.getMessage()
    assert "ALLOWED_ORIGINS" in record.getMessage()


async def test_with_all_origins_allowed_only_a_named_one_sends_credentials(
    open_app_to_all: AppHarness,
) -> None:
    get = open_app_to_all.client.get
    answer = await get("/api/exports", headers=bearer("ada") | {"Origin": OTHER})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert_readable(await get("/api/exports", headers=bearer("ada") | {"Origin": PAGE}))
    wants = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = await open_app_to_all.client.options("/api/exports", headers=wants | {"Origin": OTHER})
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in preflight.headers


async def test_a_module_for_all_pages_stays_readable_for_all(sharing_app: AppHarness) -> None:
    module = await sharing_app.client.get("/framehook.js", headers={"Origin": OTHER})
    assert module.headers["access-control-allow-origin"] == "*"
    named = await sharing_app.client.get("/framehook.js", headers={"Origin": PAGE})
    assert named.headers["access-control-allow-origin"] == PAGE
    assert {"Accept-Encoding", "Origin"} <= {name.strip() for name in named.headers["vary"].split(",")}


async def read_rejection(server: StreamServer, request: bytes) -> bytes:
    async with open_connection(server.settings.port) as connection:
        await connection.send(request)
        return await connection.read_all()


@pytest.fixture
async def strict_server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    """A server with small limits for pages of one origin."""
    limits = HttpLimits(
        head_bytes=1_000,
        head_seconds=0.1,
        body_seconds=0.1,
        connections=ConnectionLimits(total=2, per_address=2, reserved=1),
    )
    sharing = settings.model_copy(update={"allowed_origins": (PAGE,)})
    server = await stack.enter_async_context(open_server(sharing, limits=limits))
    await server.client.aclose()  # its own connection would count
    return server


@pytest.mark.parametrize(
    ("build", "status", "origin"),
    [
        pytest.param(
            lambda page: request_head(extra=f"{page}x: {'y' * 2_000}\r\n"), 431, PAGE, id="too large"
        ),
        pytest.param(lambda page: request_head(extra=f"x: {'y' * 2_000}\r\n{page}"), 431, "*", id="unread"),
        pytest.param(lambda page: request_head(extra=f"{page}x: y\r\n")[:-2], 408, PAGE, id="a slow head"),
        pytest.param(
            lambda page: request_head("POST /api/exports", extra=f"{page}{JSON}content-length: 9\r\n"),
            408,
            PAGE,
            id="a slow body",
        ),
        pytest.param(
            lambda page: request_head(extra=f"{page}x: y\r\n")[:-2] + b"no colon\r\n\r\n",
            400,
            PAGE,
            id="no HTTP",
        ),
    ],
)
async def test_a_page_reads_what_the_server_answers_before_the_application(
    strict_server: StreamServer, build: Callable[[str], bytes], status: int, origin: str
) -> None:
    answer = await read_rejection(strict_server, build(f"origin: {PAGE}\r\n"))
    head = answer.partition(b"\r\n\r\n")[0].decode().lower()
    assert head.startswith(f"http/1.1 {status}")
    assert f"access-control-allow-origin: {origin}" in head
    assert "retry-after" in head.partition("access-control-expose-headers:")[2]
    foreign = await read_rejection(strict_server, build(f"origin: {OTHER}\r\n"))
    assert f"access-control-allow-origin: {OTHER}" not in foreign.decode().lower()


async def test_a_page_reads_that_there_are_too_many_connections(
    strict_server: StreamServer, stack: AsyncExitStack
) -> None:
    events = request_head("GET /api/exports/events", extra=f"accept: text/event-stream\r\norigin: {PAGE}\r\n")
    for _ in range(2):
        connection = await stack.enter_async_context(open_connection(strict_server.settings.port))
        await connection.send(events)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert f"access-control-allow-origin: {PAGE}" in head.decode().lower()
    for request, status in (
        (request_head("GET /api/exports", extra=f"origin: {PAGE}\r\n"), 503),
        (events, 200),
    ):
        answer = (await read_rejection(strict_server, request)).decode().lower()
        assert answer.startswith(f"http/1.1 {status}")
        assert f"access-control-allow-origin: {PAGE}" in answer


def test_without_allowed_origins_a_rejection_says_nothing_to_pages() -> None:
    silent = CrossOrigin(OriginPolicy("https://video.example"))
    assert silent.list_headers(None) == [(b"vary", b"Origin")]
    assert silent.list_headers(PAGE) == [(b"vary", b"Origin")]


def test_every_http_route_is_among_the_paths() -> None:
    assert not [route for route in ROUTES if not isinstance(route, Route | WebSocketRoute)]
