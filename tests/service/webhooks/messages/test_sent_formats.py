"""What the delivery worker sends for each format, with the endpoint's own headers."""

from typing import Any

import httpx
import msgspec
import pytest

from callbacks.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, decode_secret, verify
from service.webhooks import delivery_queries, recovery
from service.webhooks.messages.custom_headers import MASK, encode_headers
from service.webhooks.models import EndpointFormat
from tests.service.webhooks.webhook_harness import URL, WebhookHarness

SECRET_VALUE = "Bearer s3cr3t-token"
OWN_HEADERS = {"Authorization": SECRET_VALUE, "X-Tenant": "7"}


async def deliver(harness: WebhookHarness, format_: EndpointFormat, **options: Any) -> httpx.Request:
    """Try once to deliver the completion of an export in this format; check the signature and return the request."""
    harness.respond_with(500)
    options = {"format": format_.value, **options}
    endpoint = await harness.create_endpoint(events=["export.completed"], options=options)
    await harness.complete_export()
    await harness.deliver_all()
    (request,) = harness.received
    if format_ is not EndpointFormat.SLACK:
        keys = [decode_secret(endpoint.secret)]
        assert verify(keys, dict(request.headers), request.content, now=harness.clock.now)
    return request


async def test_a_cloudevent_is_signed_and_stays_the_same_when_it_is_sent_again(
    harness: WebhookHarness,
) -> None:
    first = await deliver(harness, EndpointFormat.CLOUDEVENTS)
    assert first.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = msgspec.json.decode(first.content)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "export.completed", "job-1")
    assert event["id"] == first.headers[ID_HEADER]
    assert event["data"]["status"] == "complete"
    harness.clock.advance(10)  # the retry
    await harness.deliver_all()
    harness.respond_with(204)
    await redeliver(harness, event["id"])
    assert [request.content for request in harness.received] == [first.content] * 3
    assert {request.headers["content-type"] for request in harness.received} == {
        first.headers["content-type"]
    }


async def redeliver(harness: WebhookHarness, delivery_id: str) -> None:
    (row,) = await harness.load_deliveries()
    async with harness.database.transaction() as session:
        delivery = await delivery_queries.get(session, str(row["endpoint_id"]), delivery_id)
        assert delivery is not None
        assert await recovery.redeliver(session, delivery, now=harness.clock.now)
    await harness.deliver_all()


async def test_slack_gets_its_text_without_signatures(harness: WebhookHarness) -> None:
    request = await deliver(harness, EndpointFormat.SLACK)
    assert request.headers["content-type"] == "application/json"
    assert not {ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER} & set(request.headers)
    body = msgspec.json.decode(request.content)
    assert list(body) == ["text"]
    assert body["text"].startswith("*Export completed: ")


@pytest.mark.parametrize("format_", list(EndpointFormat))
async def test_an_endpoints_own_headers_go_with_each_request(
    harness: WebhookHarness, format_: EndpointFormat
) -> None:
    request = await deliver(harness, format_, custom_headers=encode_headers(OWN_HEADERS))
    assert {name: request.headers[name] for name in OWN_HEADERS} == OWN_HEADERS
    assert request.headers["user-agent"] == "Framehook"


async def test_a_response_that_repeats_a_header_shows_nothing_of_its_value(harness: WebhookHarness) -> None:
    harness.receivers.handlers[URL] = lambda request: httpx.Response(
        400, text=f"not you: {request.headers['authorization']}"
    )
    await harness.create_endpoint(options={"custom_headers": encode_headers(OWN_HEADERS)})
    await harness.complete_export()
    await harness.deliver_all()
    assert harness.received[0].headers["authorization"] == SECRET_VALUE
    (attempt,) = await harness.load_attempts()
    assert attempt["excerpt"] == f"not you: {MASK}"
