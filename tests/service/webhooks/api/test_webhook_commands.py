"""`framehook webhooks …` against a service and a consumer on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.cli.test_commands import CommandResult, run
from tests.support.fakes import FakeRunner
from tests.support.live_server import (
    LiveServer,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)

ALLOWING = {"webhook_allowed_networks": "127.0.0.0/8", "webhook_allow_http": True}


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    async with serve_app(settings_on(free_port(), data_dir, **ALLOWING), FakeRunner()) as served:
        yield served


async def run_command(server: LiveServer, *words: str) -> CommandResult:
    return await asyncio.to_thread(run, "webhooks", *words, FRAMEHOOK_URL=server.url)


async def run_json(server: LiveServer, *words: str) -> Any:
    """Run a command with --json and return its output."""
    result = await run_command(server, *words, "--json")
    assert result.status == 0, result.err
    return json.loads(result.out)


async def test_an_endpoint_is_added_tested_and_listed(server: LiveServer) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        added = await run_command(
            server, "add", receiver.url, "--event", "export.failed", "--description", "mine"
        )
        [endpoint] = (await run_json(server, "list"))["webhooks"]
        test_result = await run_command(server, "test", endpoint["id"])
        [request] = receiver.requests
    secret = added.out.split("Secret (shown only once): ")[1].strip()
    Webhook(secret).verify(request.body, dict(request.headers))
    assert test_result.out.startswith("The test event is delivered: 204 in ")
    listed = await run_command(server, "list")
    assert all(word in listed.out for word in (endpoint["id"], "enabled", "failed", receiver.url, "mine"))
    assert secret not in listed.out
    log = await run_command(server, "deliveries", endpoint["id"], "--state", "delivered")
    assert all(word in log.out for word in (request.headers["webhook-id"], "webhook.test", "204 in"))


async def test_a_test_that_fails_says_so_and_an_endpoint_that_is_gone_is_enabled_again(
    server: LiveServer,
) -> None:
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await run_json(server, "add", receiver.url)
        test_result = await run_command(server, "test", endpoint["id"])
        listed = await run_command(server, "list")
        second_test = await run_command(server, "test", endpoint["id"])
    assert test_result.status == 1
    assert (
        "The test event is failed: The endpoint responded with 410 (Gone), so it receives no further events."
        in test_result.out
    )
    assert "disabled: gone" in listed.out
    assert (second_test.status, second_test.err) == (
        2,
        "framehook: The endpoint is disabled; enable it first.\n",
    )
    assert (
        await run_command(server, "enable", endpoint["id"])
    ).out == f"Endpoint {endpoint['id']} is enabled.\n"
    assert (await run_command(server, "recover", endpoint["id"])).out == "Queued deliveries: 0.\n"


async def test_a_secret_is_rotated_and_an_endpoint_removed(server: LiveServer) -> None:
    endpoint = await run_json(server, "add", "http://127.0.0.1:2/hook", "--ed25519")
    rotated = await run_command(server, "rotate", endpoint["id"])
    assert rotated.out.startswith("New secret (shown only once): whsec_")
    assert endpoint["secret"] not in rotated.out
    assert (await run_command(server, "deliveries", endpoint["id"])).out == "There are no deliveries.\n"
    assert (
        await run_command(server, "remove", endpoint["id"])
    ).out == f"Endpoint {endpoint['id']} was removed.\n"
    assert (await run_command(server, "list")).out == "There are no webhooks.\n"
    missing = await run_command(server, "remove", endpoint["id"])
    assert (missing.status, missing.err) == (2, "framehook: The webhook does not exist.\n")


async def test_a_blocked_url_is_explained_in_a_sentence(server: LiveServer) -> None:
    rejected = await run_command(server, "add", "http://10.0.0.1/hook")
    assert rejected.status == 2
    assert (
        rejected.err
        == "framehook: url: 10.0.0.1 is a private address, and only public addresses are allowed. "
        "The operator of this service can allow it by adding 10.0.0.1/32 to WEBHOOK_ALLOWED_NETWORKS.\n"
    )
