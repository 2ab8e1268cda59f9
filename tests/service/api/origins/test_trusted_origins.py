"""What a browser adds by itself, a cookie or nothing at all, is worth something from trusted pages only."""

import json
import logging
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from service.api.auth import COOKIE_NAME
from service.api.origins.refusal_log import MAX_ORIGINS, PAUSE_SECONDS, RefusalLog
from service.settings import Settings
from tests.service.conftest import bearer, token
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem
from tests.support.stream_calls import receive_job, socket_url
from tests.support.stream_server import StreamServer, open_server

pytestmark = pytest.mark.anyio
PAGE = "https://app.example"
EVIL = "https://evil.example"
COOKIE = {"Cookie": f"{COOKIE_NAME}={token('ada')}"}

WITHOUT_BODY = [
    ("POST", "/api/exports/none/retry"),
    ("DELETE", "/api/exports/none"),
    ("POST", "/api/exports/acknowledge"),
    ("POST", "/api/exports/none/download-url"),
    ("POST", "/api/uploads/uploads/none.mp4/download-url"),
    ("POST", "/api/uploads/uploads/none.mp4/probe"),
    ("POST", "/api/uploads/none/complete"),
    ("DELETE", "/api/uploads/none"),
    ("POST", "/api/webhooks/none/rotate"),
    ("POST", "/api/webhooks/none/test"),
    ("DELETE", "/api/webhooks/none"),
    ("POST", "/api/webhooks/none/deliveries/none/redeliver"),
    ("POST", "/api/stream-tickets"),
]
FOREIGN = [
    pytest.param({"Origin": EVIL}, id="another origin"),
    pytest.param({"Origin": "null"}, id="a sandboxed page"),
    pytest.param({"Origin": f"{PAGE}.evil.example"}, id="a longer name"),
    pytest.param({"Origin": "https://[bad"}, id="a malformed origin"),
    pytest.param({"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}, id="cross-site"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site without an origin"),
    pytest.param({"Origin": "https://evil.127.0.0.1:8000", "Sec-Fetch-Site": "same-site"}, id="a subdomain"),
]
TRUSTED = [
    pytest.param({}, id="no browser"),
    pytest.param({"Origin": PAGE}, id="a named origin"),
    pytest.param({"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, id="a named origin, cross-site"),
    pytest.param({"Origin": "http://127.0.0.1:8000"}, id="its own origin"),
    pytest.param({"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-origin"}, id="a proxy's own"),
]


@pytest.fixture(params=["local", "users"])
async def app_with_ambient_user(
    request: pytest.FixtureRequest, settings: Settings, users_settings: Settings, stack: AsyncExitStack
) -> AppHarness:
    """A local service, and one whose user is signed in by a cookie."""
    chosen = settings if request.param == "local" else users_settings
    sharing = chosen.model_copy(update={"allowed_origins": (PAGE,)})
    app = await stack.enter_async_context(open_app(sharing, FakeRunner()))
    if request.param == "users":
        app.client.headers.update(COOKIE)
    return app


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_foreign_page_changes_nothing_without_a_token(
    app_with_ambient_user: AppHarness, headers: dict[str, str]
) -> None:
    for method, path in WITHOUT_BODY:
        answer = await app_with_ambient_user.client.request(method, path, headers=headers)
        problem = assert_problem(answer, 403)
        assert problem["type"] == "urn:framehook:problem:foreign_origin"
        assert "ALLOWED_ORIGINS" in problem["detail"]


@pytest.mark.parametrize("headers", TRUSTED)
async def test_a_trusted_page_may_change_something(
    app_with_ambient_user: AppHarness, headers: dict[str, str]
) -> None:
    for method, path in WITHOUT_BODY:
        answer = await app_with_ambient_user.client.request(method, path, headers=headers)
        assert answer.status_code in (200, 201, 404), (path, answer.text)


async def test_a_form_of_a_foreign_page_is_rejected(app_with_ambient_user: AppHarness) -> None:
    for content_type in (
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
    ):
        headers = {"Origin": EVIL, "Content-Type": content_type}
        answer = await app_with_ambient_user.client.post(
            "/api/exports/acknowledge", content=b"[]", headers=headers
        )
        assert_problem(answer, 403)


async def test_a_foreign_page_with_a_token_of_its_own_may_change_something(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    app = await stack.enter_async_context(open_app(users_settings, FakeRunner()))
    headers = {"Origin": EVIL} | bearer("ada") | COOKIE
    assert (await app.client.post("/api/stream-tickets", headers=headers)).status_code == 201


async def test_reading_by_cookie_is_left_to_cors(app_with_ambient_user: AppHarness) -> None:
    answer = await app_with_ambient_user.client.get("/api/exports", headers={"Origin": EVIL})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def open_socket(server: StreamServer, origin: str, **headers: str) -> str:
    run = await server.submit_export(user="ada", headers=bearer("ada"))
    url = socket_url(server, run)
    async with connect(url, origin=Origin(origin), additional_headers=headers) as socket:
        return str((await receive_job(socket))["job_id"])


async def refuse_socket(server: StreamServer, origin: str, **headers: str) -> dict[str, object]:
    with pytest.raises(InvalidStatus) as refused:
        await open_socket(server, origin, **headers)
    assert refused.value.response.status_code == 403
    problem: dict[str, object] = json.loads(refused.value.response.body or b"")
    return problem


async def test_with_all_origins_allowed_a_socket_needs_a_token_of_the_page(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    sharing = users_settings.model_copy(update={"allowed_origins": ("*", PAGE)})
    server = await stack.enter_async_context(open_server(sharing))
    assert (await refuse_socket(server, EVIL, **COOKIE))["code"] == "foreign_origin"
    assert await open_socket(server, EVIL, **bearer("ada"))
    assert await open_socket(server, PAGE, **COOKIE)


async def test_a_refused_socket_is_logged_with_its_origin_and_the_setting(
    users_settings: Settings, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    server = await stack.enter_async_context(open_server(users_settings))
    with caplog.at_level(logging.WARNING, "framehook.origins"):
        for _ in range(3):
            await refuse_socket(server, EVIL, **COOKIE)
    (message,) = [record.getMessage() for record in caplog.records if record.name == "framehook.origins"]
    assert "WebSocket" in message
    assert EVIL in message
    assert "ALLOWED_ORIGINS" in message


async def test_a_malformed_origin_is_refused(users_settings: Settings, stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(open_server(users_settings))
    async with httpx.AsyncClient(trust_env=False) as client:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Origin": "https://[bad",
        }
        answer = await client.get(f"http://{server.address}/ws/exports", headers=upgrade)
    assert answer.status_code == 403


def messages_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_origin_is_logged_again_after_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = RefusalLog(lambda: now[0])
    for at in (0.0, PAUSE_SECONDS - 1, PAUSE_SECONDS + 1):
        now[0] = at
        log.record(EVIL, "a WebSocket")
    assert len(messages_of(caplog)) == 2


def test_many_origins_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog(lambda: 0.0)
    for number in range(1_000):
        log.record(f"https://{number}.example", "a WebSocket")
    assert len(messages_of(caplog)) == MAX_ORIGINS


def test_a_refused_origin_cannot_write_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().record("https://a\n\x1b[2Jerror: \u202eforged" + "x" * 5_000, "a WebSocket")
    (message,) = messages_of(caplog)
    assert message.isprintable()
    assert len(message) < 400
