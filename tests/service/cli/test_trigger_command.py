"""`framehook webhooks trigger` against receivers that are right and wrong."""

import asyncio
import json
import os
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from framehook.names import EventName, FaultName
from service.cli.webhooks.checklist import judge
from service.cli.webhooks.forwarding import Outcome
from service.cli.webhooks.trigger import list_all_faults
from tests.service.cli.commands import run, run_json, run_on
from tests.service.webhooks.verifying_receivers import run_python_receiver, verify_with_standardwebhooks
from tests.support.live_server import LiveServer, ScriptedResponse, serve_script

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
INVALID = (FaultName.TRUNCATE, FaultName.BAD_SIGNATURE)
COMPLETED = EventName.COMPLETED


async def send_to(url: str, *words: str) -> Any:
    return await asyncio.to_thread(
        run, "webhooks", "trigger", "export.completed", "--to", url, *words, FRAMEHOOK_WEBHOOK_SECRET=SECRET
    )


async def test_a_receiver_that_verifies_passes_and_one_that_does_not_fails() -> None:
    words = [
        word for fault in (*INVALID, FaultName.OLD_SECRET, FaultName.LATE) for word in ("--fault", fault)
    ]
    with run_python_receiver(verify_with_standardwebhooks) as receiver:
        await receiver.use_key(SECRET)
        result = await send_to(receiver.url, *words)
    assert result.status == 0, result.out
    assert [line[0] for line in result.out.splitlines()] == ["✓"] * 4
    with serve_script(ScriptedResponse(204)) as careless:
        result = await send_to(careless.url, *words)
    assert result.status == 1
    assert [line[0] for line in result.out.splitlines()] == ["✗", "✗", "✓", "✓"]
    assert "✗ a bad signature was accepted: 204 in " in result.out


async def test_the_service_sends_a_sample_with_a_fault(server: LiveServer) -> None:
    with serve_script(ScriptedResponse(200), ScriptedResponse(200, body=b"duplicate")) as receiver:
        endpoint = await run_json(server, "webhooks", "add", receiver.url)
        words = ("webhooks", "trigger", "export.failed", "--endpoint", endpoint["id"], "--fault", "duplicate")
        result = await run_on(server, *words)
        first, second = receiver.requests
        reordered = await run_on(server, *words[:-1], "reorder", "--json")
    assert (result.status, first.headers["webhook-id"]) == (0, second.headers["webhook-id"])
    assert result.out.startswith("✓ the event twice: 200 in ")
    assert result.out.endswith(", and it was ignored as duplicate\n")
    Webhook(endpoint["secret"]).verify(second.body, dict(second.headers))
    assert json.loads(second.body)["data"]["error"]["code"] == "source_unreadable"
    assert [json.loads(request.body)["type"] for request in receiver.requests[2:]] == [
        "export.failed",
        "export.progress",
    ]
    assert json.loads(reordered.out)["passed"] is None


async def test_curl_sends_the_signed_request() -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        printed = await send_to(receiver.url, "--curl", "--type", "overlay")
        process = await asyncio.create_subprocess_shell(
            printed.out, stdout=asyncio.subprocess.PIPE, env={**os.environ, "no_proxy": "*"}
        )
        answer, _ = await process.communicate()
        [request] = receiver.requests
    assert b" 204 " in answer.splitlines()[0]
    Webhook(SECRET).verify(request.body, dict(request.headers))
    assert json.loads(request.body)["data"]["type"] == "overlay"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Give either --endpoint ID, or --to URL with the --secret of the receiver."),
        (("--to", "http://127.0.0.1:2/"), "Give the receiver's secret (whsec_…) with --secret"),
        (("--to", "http://127.0.0.1:2/", "--secret", "x"), "--secret: "),
        (("--to", "ftp://a", "--secret", SECRET), "http"),
        (("--curl", "--secret", SECRET, "--fault", "reorder"), "No event comes before export.started"),
    ],
)
def test_what_is_missing_is_named(words: tuple[str, ...], sentence: str) -> None:
    result = run("webhooks", "trigger", "export.started", *words)
    assert result.status == 2
    assert sentence in result.err


def test_all_faults_are_those_that_an_event_can_have() -> None:
    assert list_all_faults(COMPLETED) == [None, *FaultName]
    assert FaultName.REORDER not in list_all_faults(EventName.STARTED)


@pytest.mark.parametrize("fault", [None, *FaultName])
@pytest.mark.parametrize("status", [200, 401, 500, None])
def test_a_valid_message_needs_a_2xx_and_an_invalid_one_a_4xx(
    fault: FaultName | None, status: int | None
) -> None:
    error = None if status else {"code": "timeout", "message": "There was no response."}
    check = judge(COMPLETED, fault, Outcome(0.1, status, error))
    right = 401 if fault in INVALID else 200
    assert (check.passed is False) == (status != right)
    only_its_owner_knows = fault in {FaultName.DUPLICATE, FaultName.REORDER} and status == 200
    assert (check.passed is None) == only_its_owner_knows
