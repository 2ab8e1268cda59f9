"""Listeners take deliveries in the place of a URL, and what they report counts as an attempt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from callbacks.envelope import EventType, Phase
from callbacks.signing import decode_secret, verify
from infra.database.base import Database
from service.webhooks import delivery_queries
from service.webhooks.listeners.connections import HandedDelivery, ListenerConnection
from service.webhooks.listeners.outcomes import record_outcome
from service.webhooks.models import Endpoint, EndpointKind
from service.webhooks.retry_policy import AttemptResult, result_from_response
from service.webhooks.worker import DeliveryWorker
from tests.service.webhooks.api_calls import WITHIN_SECONDS
from tests.service.webhooks.replica_pair import LEASE_AND_A_SECOND
from tests.service.webhooks.webhook_harness import WebhookHarness, open_harness
from tests.support.job_factory import Row

DELIVERED = result_from_response(204, 0.1, None, "")
REFUSED = result_from_response(500, 0.1, None, "no such table")


async def create_listener(harness: WebhookHarness) -> Endpoint:
    return await harness.create_endpoint("", kind=EndpointKind.LISTENER)


async def take(harness: WebhookHarness, connection: ListenerConnection) -> HandedDelivery:
    """Let the worker claim what is due, and take the next delivery."""
    await harness.worker.run_round()
    return await next_delivery(connection)


async def next_delivery(connection: ListenerConnection) -> HandedDelivery:
    """Take the next delivery, which is handed over or about to be."""
    async with asyncio.timeout(WITHIN_SECONDS):
        return await connection.next()


async def record(harness: WebhookHarness, handed: HandedDelivery, result: AttemptResult) -> None:
    """Record an outcome, as its route does."""
    delivery = handed.delivery
    async with harness.database.transaction() as session:
        current = await delivery_queries.get(session, delivery.endpoint_id, delivery.delivery_id)
        assert current is not None
        await record_outcome(session, current, delivery.attempts, result, now=harness.clock.now)
    harness.sender.listeners.settle(delivery.delivery_id, delivery.attempts)


async def report(harness: WebhookHarness, handed: HandedDelivery, result: AttemptResult) -> None:
    """Record the outcome of the only delivery in flight, and let the worker go on."""
    await record(harness, handed, result)
    await harness.worker.wait_idle()
    await harness.worker.run_round()


async def load_delivery(harness: WebhookHarness) -> Row:
    (row,) = await harness.load_deliveries()
    return row


@pytest.fixture
async def listener(harness: WebhookHarness) -> Endpoint:
    """Create a listener with one due delivery."""
    endpoint = await create_listener(harness)
    await harness.complete_export()
    return endpoint


@pytest.fixture
async def impatient(any_database: Database) -> AsyncIterator[WebhookHarness]:
    """Open a harness in which no outcome ever comes in time."""
    async with open_harness(any_database, listener_seconds=0.01) as harness:
        yield harness


async def test_a_listener_gets_the_headers_and_the_body_of_a_request(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        handed = await take(harness, connection)
        key, body = decode_secret(listener.secret), handed.delivery.payload.encode()
        assert (
            verify([key], handed.message.headers, body, now=harness.clock.now) == handed.delivery.delivery_id
        )
        assert handed.message.headers["content-type"] == "application/json"
        await report(harness, handed, DELIVERED)
    assert (await load_delivery(harness))["state"] == "delivered"
    (attempt,) = await harness.load_attempts()
    assert (attempt["status"], attempt["seconds"]) == (204, 0.1)
    assert harness.worker.metrics.delay.count == 1  # it counts like any delivery


async def test_without_a_listener_a_delivery_waits_and_uses_up_no_attempt(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    await harness.deliver_all()
    row = await load_delivery(harness)
    assert (row["state"], row["attempts"], row["tries"]) == ("pending", 0, 0)
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        await report(harness, await take(harness, connection), DELIVERED)
    assert (await load_delivery(harness))["state"] == "delivered"


async def test_other_endpoints_do_not_wait_for_a_listener(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    await harness.create_endpoint()
    await harness.complete_export("job-2")
    await harness.deliver_all()
    assert [request.method for request in harness.received] == ["POST"]


async def test_a_failure_is_retried_by_the_schedule_and_logged(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        await report(harness, await take(harness, connection), REFUSED)
        row = await load_delivery(harness)
        assert (row["state"], row["tries"]) == ("pending", 1)
        harness.clock.advance(6)
        again = await take(harness, connection)
        assert again.delivery.attempts == 2
        await report(harness, again, DELIVERED)
    attempts = await harness.load_attempts()
    assert [(row["status"], row["excerpt"]) for row in attempts] == [(500, "no such table"), (204, "")]


async def test_a_gone_receiver_disables_the_listener(harness: WebhookHarness, listener: Endpoint) -> None:
    gone = result_from_response(410, 0.1, None, "")
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        await report(harness, await take(harness, connection), gone)
    (row,) = await harness.load_endpoints()
    assert row["disabled_reason"] == "gone"


async def test_newer_events_of_an_export_wait_for_the_outcome(harness: WebhookHarness) -> None:
    listener = await create_listener(harness)
    await harness.submit_export("job-1")
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.report(EventType.COMPLETED, "job-1", 2)
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        first = await take(harness, connection)
        await harness.worker.run_round()
        assert harness.worker.in_flight == 1
        await report(harness, first, DELIVERED)
        second = await next_delivery(connection)
        await report(harness, second, DELIVERED)
    assert [first.delivery.type, second.delivery.type] == ["export.started", "export.completed"]


async def test_each_delivery_goes_to_one_of_two_listeners(
    harness: WebhookHarness, stack: AsyncExitStack
) -> None:
    listener = await create_listener(harness)
    connect = harness.sender.listeners.connect
    connections = [stack.enter_context(connect(listener.endpoint_id)) for _ in range(2)]
    for number in range(4):
        await harness.complete_export(f"job-{number}")
    taken = [await take(harness, connections[0])]
    await report(harness, taken[0], DELIVERED)  # from now on the endpoint gets several at a time
    for connection in (connections[1], connections[0], connections[1]):
        taken.append(await next_delivery(connection))
        await record(harness, taken[-1], DELIVERED)
    await harness.worker.wait_idle()
    assert sorted(str(handed.delivery.job_id) for handed in taken) == ["job-0", "job-1", "job-2", "job-3"]
    assert [row["attempts"] for row in await harness.load_deliveries()] == [1, 1, 1, 1]


async def test_what_no_listener_took_goes_to_the_next_one(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id):
        await harness.worker.run_round()
    await harness.worker.wait_idle()
    await harness.worker.run_round()
    row = await load_delivery(harness)
    assert (row["state"], row["tries"], row["attempts"]) == ("pending", 0, 1)
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        assert (await take(harness, connection)).delivery.attempts == 2


async def test_a_listener_that_never_reports_is_disconnected_and_its_delivery_sent_again(
    impatient: WebhookHarness,
) -> None:
    harness, listener = impatient, await create_listener(impatient)
    await harness.complete_export()
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        await take(harness, connection)
        await harness.worker.wait_idle()
        assert connection.is_closed
    await harness.worker.run_round()
    row = await load_delivery(harness)
    assert (row["state"], row["tries"]) == ("pending", 1)
    (attempt,) = await harness.load_attempts()
    assert attempt["error_code"] == "timeout"


@pytest.mark.parametrize(
    ("result", "state", "status"),
    [(DELIVERED, "delivered", 204), (REFUSED, "pending", None)],
    ids=["success", "failure"],
)
async def test_after_the_time_out_only_a_success_counts(
    impatient: WebhookHarness, result: AttemptResult, state: str, status: int | None
) -> None:
    harness, listener = impatient, await create_listener(impatient)
    await harness.complete_export()
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        handed = await take(harness, connection)
        await harness.worker.wait_idle()
        await harness.worker.run_round()
    await report(harness, handed, result)
    row = await load_delivery(harness)
    assert (row["state"], row["tries"]) == (state, 1)
    (attempt,) = await harness.load_attempts()
    assert attempt["status"] == status


@pytest.mark.parametrize(
    ("result", "state"), [(DELIVERED, "delivered"), (REFUSED, "pending")], ids=["success", "failure"]
)
async def test_an_outcome_that_comes_before_the_time_out_is_stored_stays_in_the_log(
    impatient: WebhookHarness, result: AttemptResult, state: str
) -> None:
    harness, listener = impatient, await create_listener(impatient)
    await harness.complete_export()
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        handed = await take(harness, connection)
        await harness.worker.wait_idle()
    await record(harness, handed, result)
    await harness.worker.run_round()
    (attempt,) = await harness.load_attempts()
    assert (attempt["status"], attempt["excerpt"]) == (result.status, result.excerpt)
    assert (await load_delivery(harness))["state"] == state


async def test_an_outcome_that_is_posted_twice_counts_once(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        handed = await take(harness, connection)
        await report(harness, handed, REFUSED)
        before = await load_delivery(harness)
        await report(harness, handed, REFUSED)
        await report(harness, handed, DELIVERED)  # the first one has counted
    assert await load_delivery(harness) == before


async def test_a_late_failure_does_not_end_the_next_attempt(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        first = await take(harness, connection)
        await harness.worker.stop()  # as a restart does: the first attempt has no result
        second = await take(harness, connection)
        await record(harness, first, REFUSED)
        row = await load_delivery(harness)
        assert (row["attempts"], row["tries"], row["state"]) == (2, 0, "pending")
        await report(harness, second, DELIVERED)
    assert (await load_delivery(harness))["state"] == "delivered"


async def test_a_process_that_dies_with_a_delivery_leaves_it_to_the_next_listener(
    harness: WebhookHarness, listener: Endpoint
) -> None:
    with harness.sender.listeners.connect(listener.endpoint_id) as connection:
        await take(harness, connection)
        attempts = list(harness.worker._attempts.tasks)
        harness.worker = DeliveryWorker(
            harness.database,
            harness.sender,
            harness.worker._outbox,
            harness.disabled.append,
            clock=harness.clock,
        )
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
        harness.clock.advance(LEASE_AND_A_SECOND)
        again = await take(harness, connection)
        await report(harness, again, DELIVERED)
    row = await load_delivery(harness)
    assert (row["state"], row["attempts"]) == ("delivered", 2)
