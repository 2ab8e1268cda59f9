"""`framehook webhooks …` against the service on a real socket, and a consumer on another."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.cli.test_commands import Said, run
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
    async with serve_app(settings_on(free_port(), data_dir, **ALLOWING), FakeRunner()) as found:
        yield found


async def said(server: LiveServer, *words: str) -> Said:
    return await asyncio.to_thread(run, "webhooks", *words, FRAMEHOOK_URL=server.url)


async def shown(server: LiveServer, *words: str) -> Any:
    """What a command answers to machines."""
    found = await said(server, *words, "--json")
    assert found.status == 0, found.err
    return json.loads(found.out)


async def test_an_endpoint_is_added_tried_and_looked_at(server: LiveServer) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        added = await said(server, "add", receiver.url, "--event", "export.failed", "--description", "mine")
        [endpoint] = (await shown(server, "list"))["webhooks"]
        tried = await said(server, "test", endpoint["id"])
        [asked] = receiver.requests
    secret = added.out.split("Secret (shown only once): ")[1].strip()
    Webhook(secret).verify(asked.body, dict(asked.headers))
    assert tried.out.startswith("The test event is delivered: 204 in ")
    listed = await said(server, "list")
    assert all(word in listed.out for word in (endpoint["id"], "enabled", "failed", receiver.url, "mine"))
    assert secret not in listed.out
    log = await said(server, "deliveries", endpoint["id"], "--state", "delivered")
    assert all(word in log.out for word in (asked.headers["webhook-id"], "webhook.test", "204 in"))


async def test_a_test_that_fails_says_so_and_an_endpoint_that_is_gone_is_enabled_again(
    server: LiveServer,
) -> None:
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await shown(server, "add", receiver.url)
        tried = await said(server, "test", endpoint["id"])
        listed = await said(server, "list")
        again = await said(server, "test", endpoint["id"])
    assert tried.status == 1
    assert (
        "The test event is failed: The endpoint responded with 410 (Gone), so it receives no further events."
        in tried.out
    )
    assert "disabled: gone" in listed.out
    assert (again.status, again.err) == (2, "framehook: The endpoint is disabled; enable it first.\n")
    assert (await said(server, "enable", endpoint["id"])).out == f"Endpoint {endpoint['id']} is enabled.\n"
    assert (await said(server, "recover", endpoint["id"])).out == "Queued deliveries: 0.\n"


async def test_a_secret_is_rotated_and_an_endpoint_removed(server: LiveServer) -> None:
    endpoint = await shown(server, "add", "http://127.0.0.1:2/hook", "--ed25519")
    rotated = await said(server, "rotate", endpoint["id"])
    assert rotated.out.startswith("New secret (shown only once): whsec_")
    assert endpoint["secret"] not in rotated.out
    assert (await said(server, "deliveries", endpoint["id"])).out == "There are no deliveries.\n"
    assert (await said(server, "remove", endpoint["id"])).out == f"Endpoint {endpoint['id']} was removed.\n"
    assert (await said(server, "list")).out == "There are no webhooks.\n"
    gone = await said(server, "remove", endpoint["id"])
    assert (gone.status, gone.err) == (2, "framehook: The webhook does not exist.\n")


async def test_a_forbidden_url_is_told_in_a_sentence(server: LiveServer) -> None:
    refused = await said(server, "add", "http://10.0.0.1/hook")
    assert refused.status == 2
    assert (
        refused.err
        == "framehook: url: 10.0.0.1 is a private address, and only public addresses are allowed. "
        "The operator of this service can allow it by adding 10.0.0.1/32 to WEBHOOK_ALLOWED_NETWORKS.\n"
    )
