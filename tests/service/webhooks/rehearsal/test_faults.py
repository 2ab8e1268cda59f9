"""Samples are what real events are, and each fault does to a message what it says."""

import json
from typing import get_type_hints

import httpx
import msgspec
import pytest

from callbacks.signing import VerificationFailed, decode_secret, verify
from infra.egress import EgressClient, EgressPolicy
from service.jobs.batches.totals import Batch
from service.jobs.erasures import ErasedData
from service.jobs.serializers import Export, ExportOutput, JobSerializer
from service.webhooks.models import Delivery, Endpoint, WebhookEvent
from service.webhooks.rehearsal.events import (
    REORDER_SECONDS,
    NothingEarlier,
    Rehearsal,
    create_test_deliveries,
)
from service.webhooks.rehearsal.faults import LATE_SECONDS, Fault, post_message
from service.webhooks.rehearsal.samples import SampleMaker
from service.webhooks.signing import Message
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness

SERIALIZER = JobSerializer("https://exports.example")
COMPLETED = WebhookEvent.COMPLETED
SHAPES = {WebhookEvent.BATCH_COMPLETED: Batch, WebhookEvent.ERASED: ErasedData}


async def send(harness: WebhookHarness, endpoint: Endpoint, rehearsal: Rehearsal) -> Delivery:
    """Send a test event; return the delivery that its caller is shown."""
    async with harness.database.transaction() as session:
        delivery = await create_test_deliveries(
            session, endpoint, rehearsal, SERIALIZER, now=harness.clock.now
        )
    await harness.deliver_all()
    return delivery


def is_signed(request: httpx.Request, secret: str, signature: str | None = None) -> bool:
    """Tell whether a receiver with this secret takes a request, or would with one of its signatures alone."""
    headers = dict(request.headers) | ({"webhook-signature": signature} if signature else {})
    try:
        verify([decode_secret(secret)], headers, request.content, now=BEGIN)
    except VerificationFailed:
        return False
    return True


@pytest.mark.parametrize("export_type", ["framing", "overlay", "annotate"])
@pytest.mark.parametrize("event", list(WebhookEvent))
def test_a_sample_has_what_a_real_event_has(event: WebhookEvent, export_type: str) -> None:
    sample = SampleMaker(SERIALIZER, export_type, "job").make(event, at=BEGIN)
    body = json.loads(sample.payload)
    assert (body["type"], body["timestamp"]) == (event, "2027-01-15T08:00:00.000Z")
    shape = SHAPES.get(event, Export)
    msgspec.convert(body["data"], shape)
    assert body["data"].keys() == get_type_hints(shape).keys()
    if event is COMPLETED:
        output = body["data"]["output"]
        assert output.keys() == get_type_hints(ExportOutput).keys()
        assert (output["width"], output["height"]) == (
            (1080, 1920) if export_type == "framing" else (1920, 1080)
        )
        assert body["data"]["cost_usd"] > 0
        assert body["data"]["metadata"] == {"order": "A-1042", "plan": "pro", "sample": True}


async def test_a_sample_is_sent_once_to_any_endpoint_and_blames_none(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint(events=["export.failed"])
    harness.respond_with(500)
    await send(harness, endpoint, Rehearsal(COMPLETED))
    (row,) = await harness.load_deliveries()
    assert (row["type"], row["state"], row["job_id"], row["tries"]) == (COMPLETED, "failed", None, 1)
    assert (await harness.load_endpoints())[0]["failing_since"] is None


async def test_each_fault_changes_the_message_as_it_says(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint(ed25519=True)
    valid, signatures = {}, {}
    for fault in (None, Fault.TRUNCATE, Fault.BAD_SIGNATURE, Fault.OLD_SECRET, Fault.LATE):
        await send(harness, endpoint, Rehearsal(COMPLETED, fault))
        request = harness.received[-1]
        valid[fault] = is_signed(request, endpoint.secret)
        signatures[fault] = request.headers["webhook-signature"].split(" ")
    assert valid == {
        None: True,
        Fault.TRUNCATE: False,
        Fault.BAD_SIGNATURE: False,
        Fault.OLD_SECRET: True,
        Fault.LATE: True,
    }
    assert [entry.split(",")[0] for entry in signatures[Fault.OLD_SECRET]] == ["v1", "v1", "v1a", "v1a"]
    await send(harness, endpoint, Rehearsal(COMPLETED, Fault.OLD_SECRET))
    request = harness.received[-1]
    first, second = request.headers["webhook-signature"].split(" ")[:2]
    assert not is_signed(request, endpoint.secret, first)
    assert is_signed(request, endpoint.secret, second)


async def test_a_late_event_is_old_and_its_signature_new(harness: WebhookHarness) -> None:
    await send(harness, await harness.create_endpoint(), Rehearsal(COMPLETED, Fault.LATE))
    (request,) = harness.received
    assert request.headers["webhook-timestamp"] == str(int(BEGIN))
    event = json.loads(request.content)
    assert event["timestamp"] == event["data"]["completed_at"] == "2027-01-14T06:00:00.000Z"
    assert LATE_SECONDS == 26 * 3600


async def test_a_duplicate_is_one_attempt_with_two_requests_of_one_id(harness: WebhookHarness) -> None:
    await send(harness, await harness.create_endpoint(), Rehearsal(COMPLETED, Fault.DUPLICATE))
    first, second = harness.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.content == second.content
    assert len(await harness.load_attempts()) == 1


async def test_the_earlier_event_comes_after_the_later_one(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    shown = await send(harness, endpoint, Rehearsal(COMPLETED, Fault.REORDER))
    harness.clock.advance(REORDER_SECONDS)
    await harness.deliver_all()
    later, earlier = (json.loads(request.content) for request in harness.received)
    assert (later["type"], earlier["type"], shown.type) == (COMPLETED, "export.progress", "export.progress")
    assert later["data"]["sequence"] > earlier["data"]["sequence"]
    assert later["data"]["job_id"] == earlier["data"]["job_id"]
    for first in (WebhookEvent.STARTED, WebhookEvent.BATCH_COMPLETED, None):
        with pytest.raises(NothingEarlier):
            await send(harness, endpoint, Rehearsal(first, Fault.REORDER))


async def test_a_slow_body_comes_in_pieces_with_its_length() -> None:
    pieces: list[bytes] = []

    class Reader(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            pieces.extend([piece async for piece in request.stream])
            assert request.headers["content-length"] == "10"
            assert "transfer-encoding" not in request.headers
            return httpx.Response(204)

    egress = EgressClient(EgressPolicy(), transport=Reader())
    message = Message({"content-type": "application/json"}, b"0123456789")
    await post_message(egress, "https://consumer.example/", message, Fault.SLOW, slow_seconds=0.0)
    assert (len(pieces), b"".join(pieces)) == (5, b"0123456789")
