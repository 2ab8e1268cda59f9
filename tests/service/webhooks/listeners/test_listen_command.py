"""`framehook webhooks listen` between a service and a receiver on real sockets."""

import asyncio
import base64
import hmac
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from callbacks.signing import decode_secret
from service.cli.webhooks.listen import parse_events, run_listener
from service.cli.webhooks.listener_session import EndpointChoice, ListenerOutput
from tests.service.webhooks.api_calls import JsonObject, send_test_event, wait_ended
from tests.support.fakes import FakeRunner
from tests.support.live_server import (
    LiveServer,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WITHIN_SECONDS = 30


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()) as served:
        yield served


@asynccontextmanager
async def run_command(
    http: httpx.AsyncClient, forward_url: str, *, keep: bool = False, endpoint_id: str | None = None
) -> AsyncIterator[JsonObject]:
    """Run the command until the block ends; yield its endpoint once it listens."""
    before = {listed["listened_at"] for listed in await list_endpoints(http)}
    choice = EndpointChoice(endpoint_id, keep or endpoint_id is not None, None, None, SECRET)
    output = ListenerOutput(print_bodies=False, as_json=False)
    running = asyncio.create_task(run_listener(str(http.base_url), None, forward_url, choice, output))
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while True:
                endpoints = await list_endpoints(http)
                if endpoints and endpoints[-1]["listened_at"] not in {None, *before}:
                    break
                await asyncio.sleep(0.01)
        yield endpoints[-1]
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def list_endpoints(http: httpx.AsyncClient) -> list[JsonObject]:
    listed: list[JsonObject] = (await http.get("/api/webhooks")).json()["webhooks"]
    return listed


async def test_the_receiver_gets_what_a_url_would_get(
    server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        async with run_command(server.http, f"{receiver.url}/hook") as endpoint:
            delivery = await send_test_event(server.http, endpoint)
        [request] = receiver.requests
    assert (request.method, request.path, request.headers["user-agent"]) == ("POST", "/hook", "Framehook")
    assert request.body.decode() == delivery["payload"]
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert (delivery["state"], delivery["attempts"][0]["status"]) == ("delivered", 204)
    printed = capsys.readouterr().out
    assert f"Secret: {SECRET}\nReady; Ctrl-C ends.\n" in printed
    assert "webhook.test       → 204 in " in printed
    assert await list_endpoints(server.http) == []


async def test_a_rejected_message_is_diagnosed(server: LiveServer, capfd: pytest.CaptureFixture[str]) -> None:
    digest = base64.b64encode(hmac.digest(decode_secret(SECRET)[:-1], b"what was received", "sha256"))
    answers = (ScriptedResponse(401, body=b"expected v1," + digest), ScriptedResponse(401))
    hints = (
        "The message is valid. The signature that you computed is different.",
        "Let it answer with the signature that it computed (v1,…) to see which.",
    )
    printed = ""
    with serve_script(*answers) as receiver:
        async with run_command(server.http, receiver.url) as endpoint, asyncio.timeout(WITHIN_SECONDS):
            for hint in hints:  # it is printed after the outcome is in the log
                await send_test_event(server.http, endpoint)
                while hint not in printed:
                    printed += capfd.readouterr().out
                    await asyncio.sleep(0.01)


async def test_a_test_event_comes_twice_in_one_attempt(
    server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_script(ScriptedResponse(200)) as receiver:
        async with run_command(server.http, receiver.url) as endpoint:
            body = {"type": "export.completed", "fault": "duplicate"}
            accepted = (await server.http.post(f"/api/webhooks/{endpoint['id']}/test", json=body)).json()
            ended = await wait_ended(server.http, endpoint, accepted["delivery_id"])
    assert [request.headers["webhook-id"] for request in receiver.requests] == [ended["delivery_id"]] * 2
    assert (ended["state"], ended["fault"], len(ended["attempts"])) == ("delivered", "duplicate", 1)
    assert " (duplicate)\n" in capsys.readouterr().out


async def test_a_receiver_that_is_down_is_a_failed_attempt(
    server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    async with run_command(server.http, f"http://127.0.0.1:{port}/") as endpoint:
        delivery = await send_test_event(server.http, endpoint)
    assert delivery["state"] == "failed"
    assert delivery["attempts"][0]["error"]["code"] == "connect"
    assert f"→ 127.0.0.1 port {port} refused the connection in " in capsys.readouterr().out


async def test_it_goes_on_after_a_restart_of_the_service(data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir)
    with serve_script(ScriptedResponse(204)) as receiver:
        async with httpx.AsyncClient(base_url=settings.origin, trust_env=False) as http:
            async with serve_app(settings, FakeRunner()):
                stack = run_command(http, receiver.url)
                endpoint = await stack.__aenter__()
            async with serve_app(settings, FakeRunner()):
                accepted = await http.post(f"/api/webhooks/{endpoint['id']}/test")
                async with asyncio.timeout(WITHIN_SECONDS):  # the command connects again by itself
                    while not receiver.requests:  # noqa: ASYNC110 - nothing signals it
                        await asyncio.sleep(0.01)
                ended = await wait_ended(http, endpoint, accepted.json()["delivery_id"])
                await stack.__aexit__(None, None, None)
    assert [attempt["status"] for attempt in ended["attempts"]] == [204]


async def test_a_kept_endpoint_gathers_events_for_the_next_listener(server: LiveServer) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        async with run_command(server.http, receiver.url, keep=True) as endpoint:
            pass
        accepted = await server.http.post(f"/api/webhooks/{endpoint['id']}/test")
        assert receiver.requests == []
        async with run_command(server.http, receiver.url, endpoint_id=endpoint["id"]) as again:
            ended = await wait_ended(server.http, again, accepted.json()["delivery_id"])
        [request] = receiver.requests
    assert again["id"] == endpoint["id"]
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert ended["state"] == "delivered"


async def test_sigterm_ends_the_command_cleanly(server: LiveServer) -> None:
    words = (
        "-m",
        "service.cli.main",
        "webhooks",
        "listen",
        "--url",
        server.url,
        "--secret",
        SECRET,
        "--print",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        printed = b""
        while b"Ready" not in printed:
            printed += await process.stdout.readline()
        [endpoint] = await list_endpoints(server.http)
        await send_test_event(server.http, endpoint)
        process.send_signal(signal.SIGTERM)
        rest, _ = await process.communicate()
    assert process.returncode == 0
    assert b'"type": "webhook.test"' in rest
    assert rest.endswith(b"Removed the endpoint.\n")
    assert await list_endpoints(server.http) == []


def test_events_may_be_separated_by_commas() -> None:
    options = ["export.completed,export.failed", "export.started"]
    assert parse_events(options) == ["export.completed", "export.failed", "export.started"]
    assert parse_events([]) is None
