"""`framehook webhooks …` against a service and a consumer on real sockets."""

from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tests.service.cli.commands import export_command, run, run_json, run_on
from tests.support.live_server import LiveServer, ScriptedResponse, serve_script
from tests.support.stream_server import wait_until


async def test_an_endpoint_is_added_tested_and_listed(server: LiveServer) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        added = await run_on(
            server, "webhooks", "add", receiver.url, "--event", "export.failed", "--description", "mine"
        )
        [endpoint] = (await run_json(server, "webhooks", "list"))["webhooks"]
        test_result = await run_on(server, "webhooks", "test", endpoint["id"])
        [request] = receiver.requests
        delivery_id = request.headers["webhook-id"]
        again = await run_on(server, "webhooks", "redeliver", endpoint["id"], delivery_id)
        assert again.out == f"Delivery {delivery_id} is pending again.\n"
        await wait_until(lambda: len(receiver.requests) == 2)
        unknown = await run_on(server, "webhooks", "redeliver", endpoint["id"], "unknown")
        assert (unknown.status, unknown.err) == (3, "framehook: The delivery does not exist.\n")
    secret = added.out.split("Secret (shown only once): ")[1].strip()
    Webhook(secret).verify(request.body, dict(request.headers))
    assert test_result.out.startswith("The test event is delivered: 204 in ")
    listed = await run_on(server, "webhooks", "list")
    assert all(word in listed.out for word in (endpoint["id"], "enabled", "failed", receiver.url, "mine"))
    assert secret not in listed.out
    log = await run_on(server, "webhooks", "deliveries", endpoint["id"], "--state", "delivered")
    assert all(word in log.out for word in (request.headers["webhook-id"], "webhook.test", "204 in"))


async def test_a_test_that_fails_says_so_and_an_endpoint_that_is_gone_is_enabled_again(
    server: LiveServer,
) -> None:
    with serve_script(ScriptedResponse(410)) as receiver:
        endpoint = await run_json(server, "webhooks", "add", receiver.url)
        test_result = await run_on(server, "webhooks", "test", endpoint["id"])
        listed = await run_on(server, "webhooks", "list")
        second_test = await run_on(server, "webhooks", "test", endpoint["id"])
    assert test_result.status == 1
    assert (
        "The test event is failed: The endpoint responded with 410 (Gone), so it receives no further events."
        in test_result.out
    )
    assert "disabled: gone" in listed.out
    assert (second_test.status, second_test.err) == (
        4,
        "framehook: The endpoint is disabled; enable it first.\n",
    )
    assert (
        await run_on(server, "webhooks", "enable", endpoint["id"])
    ).out == f"Endpoint {endpoint['id']} is enabled.\n"
    assert (await run_on(server, "webhooks", "recover", endpoint["id"])).out == "Queued deliveries: 0.\n"


async def test_a_link_to_the_portal_is_printed(server: LiveServer) -> None:
    link = await run_on(server, "webhooks", "portal-link", "--expires-in", "60")
    assert link.out.startswith(f"{server.url}/portal#token=portal_")
    refused = await run_on(server, "webhooks", "portal-link", "--expires-in", "1")
    assert refused.status == 4
    assert "expires_in" in refused.err


async def test_a_secret_is_rotated_and_an_endpoint_removed(server: LiveServer) -> None:
    endpoint = await run_json(server, "webhooks", "add", "http://127.0.0.1:2/hook", "--ed25519")
    keys = await run_on(server, "webhooks", "public-key", endpoint["id"])
    assert keys.out == f"{endpoint['public_key']}\n"
    rotated = await run_on(server, "webhooks", "rotate", endpoint["id"])
    assert rotated.out.startswith("New secret (shown only once): whsec_")
    assert endpoint["secret"] not in rotated.out
    assert (
        await run_on(server, "webhooks", "deliveries", endpoint["id"])
    ).out == "There are no deliveries.\n"
    assert (
        await run_on(server, "webhooks", "remove", endpoint["id"])
    ).out == f"Endpoint {endpoint['id']} was removed.\n"
    assert (await run_on(server, "webhooks", "list")).out == "There are no webhooks.\n"
    other = await run_json(server, "webhooks", "add", "http://127.0.0.1:2/hook")
    assert await run_json(server, "webhooks", "remove", other["id"]) == {"removed": other["id"]}
    missing = await run_on(server, "webhooks", "remove", endpoint["id"])
    assert (missing.status, missing.err) == (3, "framehook: The webhook does not exist.\n")


async def test_a_blocked_url_is_explained_in_a_sentence(server: LiveServer) -> None:
    rejected = await run_on(server, "webhooks", "add", "http://10.0.0.1/hook")
    assert rejected.status == 4
    assert (
        rejected.err
        == "framehook: url: 10.0.0.1 is a private address, and only public addresses are allowed. "
        "The operator of this service can allow it by adding 10.0.0.1/32 to WEBHOOK_ALLOWED_NETWORKS. "
        "A receiver on your own machine needs none of that: "
        "`framehook webhooks listen --forward URL` brings webhooks to it.\n"
    )


async def test_an_endpoint_is_shown_changed_and_disabled(server: LiveServer) -> None:
    conditions = ("--type", "framing", "--metadata", "plan=pro", "--created-after", "2026-01-31T12:00:00Z")
    added = await run_json(server, "webhooks", "add", "http://127.0.0.1:2/hook", *conditions)
    assert added["filter"]["type"] == ["framing"]
    assert added["filter"]["metadata"] == {"plan": "pro"}
    assert added["filter"]["created_after"] == "2026-01-31T12:00:00Z"
    changed = await run_json(
        server,
        *("webhooks", "update", added["id"], "--url", "http://127.0.0.1:3/hook", "--event", "export.failed"),
        *("--description", "mine", "--project-id", "7"),
    )
    assert (changed["url"], changed["events"]) == ("http://127.0.0.1:3/hook", ["export.failed"])
    assert (changed["filter"]["project_id"], changed["filter"]["type"]) == ("7", [])
    disabled = await run_on(server, "webhooks", "disable", added["id"])
    assert disabled.out == f"Endpoint {added['id']} is disabled.\n"
    shown = (await run_on(server, "webhooks", "show", added["id"])).out
    rows = dict(line.split("  ", 1) for line in shown.splitlines())
    assert {name: text.strip() for name, text in rows.items() if name != "created at"} == {
        "id": added["id"],
        "kind": "url",
        "url": "http://127.0.0.1:3/hook",
        "description": "mine",
        "events": "export.failed",
        "filter project id": "7",
        "format": "standard",
        "enabled": "no",
        "disabled reason": "disabled",
        "disabled at": rows["disabled at"].strip(),
    }
    unfiltered = await run_json(server, "webhooks", "update", added["id"], "--no-filter")
    assert unfiltered["filter"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "give what should change"),
        (("--no-filter", "--type", "framing"), "--no-filter removes all conditions; give it without others"),
    ],
)
def test_an_update_says_what_to_give(words: tuple[str, ...], sentence: str) -> None:
    result = run("webhooks", "update", "ep_1", *words)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"framehook: {sentence}")


async def test_an_endpoint_has_a_format_headers_and_a_rate_limit(server: LiveServer) -> None:
    headers = ("--header", "X-Api-Key: s3cr3t:key", "--header", "X-Old:1")
    options = ("--format", "slack", "--rate-limit", "2.5", *headers)
    added = await run_json(server, "webhooks", "add", "http://127.0.0.1:2/hook", *options)
    assert (added["format"], added["rate_limit"]) == ("slack", 2.5)
    assert added["header_names"] == ["X-Api-Key", "X-Old"]
    changes = (
        "--format",
        "cloudevents",
        "--header",
        "X-New: 1",
        "--remove-header",
        "x-old",
        "--rate-limit",
        "0",
    )
    await run_on(server, "webhooks", "update", added["id"], *changes)
    shown = await run_on(server, "webhooks", "show", added["id"])
    rows = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert (rows["format"].strip(), rows["header names"].strip()) == ("cloudevents", "X-Api-Key, X-New")
    assert ("rate limit" in rows, "s3cr3t" in shown.out) == (False, False)
    figures = await run_json(server, "webhooks", "show", added["id"], "--statistics")
    assert (figures["attempts"], figures["backlog"], figures["success_rate"]) == (0, 0, None)


def test_a_header_that_cannot_be_read_is_not_repeated() -> None:
    result = run("webhooks", "add", "https://example.org/hook", "--header", "s3cr3t")
    assert (result.status, result.out, "s3cr3t" in result.err) == (2, "", False)
    assert "give the name and the value of each" in " ".join(result.err.split())


async def test_an_export_has_an_endpoint_of_its_own(server: LiveServer, source: Path) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        options = ("--webhook-url", receiver.url, "--webhook-event", "export.cancelled")
        job = await run_json(server, *export_command(source, *options))
        shown = await run_on(server, *export_command(source, *options))
        await run_on(server, "cancel", job["job_id"])
        await wait_until(lambda: bool(receiver.requests))
        [request] = receiver.requests
    event = Webhook(job["webhook"]["secret"]).verify(request.body, dict(request.headers))
    assert (event["type"], event["data"]["job_id"]) == ("export.cancelled", job["job_id"])
    assert shown.out.startswith("Webhook secret (shown only once): whsec_")
    without_url = run(*export_command(source, "--webhook-event", "export.failed"))
    assert (without_url.status, "it needs --webhook-url." in without_url.err) == (2, True)
