"""The bytes of every event in each format, as a URL and as a listener gets them: valid for their readers."""

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from urllib.parse import urlsplit

import pytest

from service.settings import Settings
from service.webhooks.messages.slack import MAX_PART_CHARACTERS
from service.webhooks.models import EndpointFormat, WebhookEvent
from service.webhooks.retry_policy import TEST_EVENT, result_from_response
from tests.service.webhooks.api_calls import WITHIN_SECONDS, JsonObject, create_endpoint, path, wait_all_ended
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.live_server import ScriptedResponse, serve_script

HOSTILE = "<!channel> & <https://evil.example|*free*>\u2028" + "&" * 150
DELIVERED = result_from_response(204, 0.1, None, "")
REQUIRED = {"specversion", "id", "source", "type"}
OPTIONAL = {"subject", "time", "datacontenttype", "dataschema"}
EVENTS = [event.value for event in WebhookEvent]
Sent = tuple[Mapping[str, str], bytes]


def check_cloudevent(headers: Mapping[str, str], body: bytes) -> str:
    """Hold a request to CloudEvents 1.0 in the structured JSON mode; return the type of its event."""
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = json.loads(body.decode("utf-8"))
    assert event["specversion"] == "1.0"
    assert event.keys() >= REQUIRED
    for name, value in event.items():
        assert re.fullmatch(r"[a-z0-9]{1,20}", name), name
        if name != "data":
            assert isinstance(value, str), name
            assert value, name
    assert event["id"] == headers["webhook-id"]
    source = urlsplit(event["source"])
    assert (source.scheme, source.netloc, source.path) == ("", "", event["source"])
    assert datetime.fromisoformat(event["time"]).utcoffset() is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["time"])
    assert event["datacontenttype"] == "application/json"
    assert isinstance(event["data"], dict)
    assert "data_base64" not in event
    extensions = event.keys() - REQUIRED - OPTIONAL - {"data"}
    assert extensions <= {"traceparent"}
    return str(event["type"])


def check_slack(headers: Mapping[str, str], body: bytes) -> str:
    """Hold a request to what Slack takes; return the first words of its text."""
    assert headers["content-type"] == "application/json"
    assert not [name for name in headers if name.startswith("webhook-")]
    message = json.loads(body.decode("utf-8"))
    assert list(message) == ["text"]
    text = message["text"]
    assert isinstance(text, str)
    lines = text.split("\n")
    assert 1 <= len(lines) <= 3
    assert all(lines)
    for line in lines:
        assert not re.search(r"[<>]", line)
        assert not re.search(r"&(?!amp;|lt;|gt;)", line)
        assert len(re.sub("&[a-z]+;", "&", line)) <= MAX_PART_CHARACTERS + len("**…")
    first = re.match(r"\*([^:*]+)[:*]", text)
    assert first is not None
    return re.sub(r"\d+", "N", first[1])


SENTENCES = {
    "Export started",
    "Export at N %",
    "Export completed",
    "Export failed",
    "Export cancelled",
    "The file of an export expires",
    "The file of an export was deleted",
    "Export erased",
    "Batch completed",
}


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(settings: Settings, clock: MovableClock, stack: AsyncExitStack) -> AppHarness:
    return await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))


async def cause_every_event(app: AppHarness, clock: MovableClock) -> None:
    """Do what causes each event, with text of the user in all places that messages show."""
    app.put_object()
    body = app.export_body(name=HOSTILE, expires_in_days=2)
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    batch = await app.client.post("/api/batches", json={"name": HOSTILE, "exports": [body]}, headers=trace)
    assert batch.status_code == 202, batch.text
    run = await app.next_run()
    await run.report_started()
    await run.report_progress(50.0)
    assert (await app.complete_run(run)).status_code == 200
    await app.submit_export(json=app.export_body(name=HOSTILE))
    failing = await app.next_run()
    await failing.report_started()
    await failing.report_failed(message=HOSTILE * 2)
    cancelled = await app.submit_export(json=app.export_body(name=HOSTILE), headers=trace)
    await app.client.delete(f"/api/exports/{cancelled['job_id']}")
    for days in (1.1, 2.1):
        clock.passed_seconds = days * 86_400
        await app.state["removal"].expiry.expire_due()
    await app.client.delete(f"/api/exports/{failing.spec.job_id}?purge=true")


async def test_a_url_gets_every_event_as_valid_bytes(app: AppHarness, clock: MovableClock) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoints = [
            await create_endpoint(app.client, f"{receiver.url}/{format_}", events=EVENTS, format=format_)
            for format_ in (EndpointFormat.CLOUDEVENTS, EndpointFormat.SLACK)
        ]
        await cause_every_event(app, clock)
        for endpoint in endpoints:
            page = (await app.client.get(path(endpoint, "deliveries"))).json()["deliveries"]
            await wait_all_ended(app.client, endpoint, len(page))
        requests = [*receiver.requests]
    sent = {
        format_: [(it.headers, it.body) for it in requests if it.path == f"/{format_}"]
        for format_ in EndpointFormat
    }
    assert {check_cloudevent(*each) for each in sent[EndpointFormat.CLOUDEVENTS]} == set(EVENTS)
    assert {check_slack(*each) for each in sent[EndpointFormat.SLACK]} == SENTENCES
    traced = [json.loads(body).get("traceparent") for _, body in sent[EndpointFormat.CLOUDEVENTS]]
    assert any(traced)


async def send_tests(app: AppHarness, endpoint: JsonObject) -> None:
    """Let the service send a sample of every event, as `/test` and `framehook webhooks trigger` do."""
    for body in ({}, *({"type": event} for event in EVENTS)):
        answer = await app.client.post(path(endpoint, "test"), json=body)
        assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("kind", ["url", "listener"])
@pytest.mark.parametrize("format_", [EndpointFormat.CLOUDEVENTS, EndpointFormat.SLACK])
async def test_samples_are_valid_for_urls_and_listeners(
    app: AppHarness, format_: EndpointFormat, kind: str
) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        if kind == "url":
            endpoint = await create_endpoint(app.client, receiver.url, format=format_)
            await send_tests(app, endpoint)
            await wait_all_ended(app.client, endpoint, len(EVENTS) + 1)
            sent: list[Sent] = [(request.headers, request.body) for request in receiver.requests]
        else:
            answer = await app.client.post("/api/webhooks", json={"kind": "listener", "format": format_})
            sent = await listen(app, answer.json())
    if format_ is EndpointFormat.CLOUDEVENTS:
        assert {check_cloudevent(*each) for each in sent} == {*EVENTS, TEST_EVENT}
    else:
        samples = SENTENCES - {"The file of an export expires"}
        assert {check_slack(*each) for each in sent} == samples | {"Test of a webhook"}


async def listen(app: AppHarness, endpoint: JsonObject) -> list[Sent]:
    """Return what a listener gets when a sample of every event is sent."""
    sent: list[Sent] = []
    with app.state["listeners"].connect(endpoint["id"]) as connection:
        await send_tests(app, endpoint)
        async with asyncio.timeout(WITHIN_SECONDS):
            while len(sent) < len(EVENTS) + 1:
                handed = await connection.next()
                sent.append((handed.message.headers, handed.message.body))
                handed.settle(DELIVERED)
    return sent
