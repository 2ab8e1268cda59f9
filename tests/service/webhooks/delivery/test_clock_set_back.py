"""A clock that is set back or leaps forward delays no event and loses none."""

import pytest

from callbacks.envelope import EventType
from service.clock import COMMIT_SECONDS
from service.exports.delivery_erasure import blank_deliveries
from service.webhooks import endpoint_status, endpoints, recovery
from service.webhooks.models import DisabledReason, delivery_from_row
from service.webhooks.retry_policy import DISABLED_AFTER_SECONDS
from service.webhooks.signing import active_secrets
from service.webhooks.worker import DeliveryWorker
from tests.service.webhooks.replica_pair import LEASE_AND_A_SECOND, ReplicaPair
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness
from tests.support.job_factory import Row

HOUR, DAY = 3_600.0, 86_400.0
FIRST_RETRY = 5.5
"""The first delay of the schedule with the most jitter."""


def restart(harness: WebhookHarness) -> None:
    """Replace the worker by one that does not know earlier times of the clock."""
    before = harness.worker
    harness.worker = DeliveryWorker(
        harness.database, harness.sender, before._outbox, harness.disabled.append, clock=harness.clock
    )


async def load_delivery(harness: WebhookHarness) -> Row:
    (row,) = await harness.load_deliveries()
    return row


@pytest.mark.parametrize("ahead", [2 * HOUR, 400 * DAY], ids=["hours", "a year"])
@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "while it is down"])
async def test_a_retry_that_was_scheduled_ahead_comes_after_its_own_delay(
    harness: WebhookHarness, ahead: float, restarts: bool
) -> None:
    await harness.create_endpoint()
    harness.clock.advance(ahead)
    harness.respond_with(500)
    await harness.complete_export()
    await harness.deliver_all()
    harness.clock.now = BEGIN
    harness.respond_with(204)
    if restarts:
        restart(harness)
    await harness.deliver_all()
    assert len(harness.received) == 1
    harness.clock.advance(FIRST_RETRY)
    await harness.deliver_all()
    assert ((await load_delivery(harness))["state"], len(harness.received)) == ("delivered", 2)


async def test_a_receiver_that_asked_for_an_hour_while_the_clock_was_ahead_gets_an_hour(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.clock.advance(3 * DAY)
    harness.respond_with(503, headers={"retry-after": "3600"})
    await harness.complete_export()
    await harness.deliver_all()
    harness.clock.now = BEGIN
    await harness.deliver_all()
    harness.clock.advance(HOUR - 1)
    await harness.deliver_all()
    assert len(harness.received) == 1
    harness.clock.advance(1)
    await harness.deliver_all()
    assert len(harness.received) == 2


async def test_an_unsent_event_from_before_the_clock_was_set_back_is_sent_at_once(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.clock.advance(DAY)
    await harness.complete_export()
    harness.clock.now = BEGIN
    await harness.deliver_all()
    row = await load_delivery(harness)
    assert (row["state"], row["created_at"], row["ended_at"]) == ("delivered", BEGIN, BEGIN)


async def test_an_event_that_commits_after_the_clock_was_set_back_does_not_wait_for_its_time_from_before(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.clock.advance(DAY)
    await harness.deliver_all()
    harness.clock.now = BEGIN
    await harness.deliver_all()
    harness.clock.now = BEGIN + DAY  # as its transaction has read it
    await harness.complete_export()
    harness.clock.now = BEGIN + 1
    await harness.deliver_all()
    assert harness.received == []
    harness.clock.advance(COMMIT_SECONDS)
    await harness.deliver_all()
    assert (await load_delivery(harness))["state"] == "delivered"


async def test_a_lease_that_was_taken_ahead_ends_after_its_own_time(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=[EventType.PROGRESS, EventType.COMPLETED])
    await harness.submit_export("job-1")
    replicas = ReplicaPair(harness)
    harness.clock.advance(DAY)
    await harness.report(EventType.PROGRESS, "job-1", 1)
    await replicas.run_rounds([0])
    await replicas.kill(0)
    harness.clock.now = BEGIN
    await harness.report(EventType.COMPLETED, "job-1", 2)
    replicas.accept_all = True
    await replicas.run_rounds([1])
    await replicas.advance(LEASE_AND_A_SECOND)
    await replicas.run_rounds([1])
    await replicas.run_rounds([1])
    assert replicas.arrivals[-1].type == EventType.COMPLETED
    assert [row["state"] for row in await harness.load_deliveries()] == ["superseded", "delivered"]


async def disable_and_enable(harness: WebhookHarness, endpoint_id: str) -> None:
    now = harness.clock.now
    async with harness.database.transaction() as session:
        await endpoint_status.disable(session, endpoint_id, DisabledReason.BY_USER, now=now)
        await endpoint_status.enable(session, "ada", endpoint_id)


async def erase(harness: WebhookHarness, job_id: str) -> None:
    async with harness.database.transaction() as session:
        await blank_deliveries(session, "ada", [job_id], now=harness.clock.now)


@pytest.mark.parametrize("ends", ["before the clock was set back", "after it", "after it, by erasures"])
async def test_newer_events_do_not_wait_for_an_old_lease_of_a_clock_that_was_ahead(
    harness: WebhookHarness, ends: str
) -> None:
    endpoint = await harness.create_endpoint(events=[EventType.PROGRESS, EventType.COMPLETED])
    await harness.submit_export("job-1")
    replicas = ReplicaPair(harness)
    harness.clock.advance(DAY)
    await harness.report(EventType.PROGRESS, "job-1", 1)
    await replicas.run_rounds([0])
    if ends == "before the clock was set back":
        await disable_and_enable(harness, endpoint.endpoint_id)
    await replicas.kill(0)
    harness.clock.now = BEGIN
    if ends == "after it":
        await disable_and_enable(harness, endpoint.endpoint_id)
    elif ends == "after it, by erasures":
        for _ in range(2):
            await erase(harness, "job-1")
    await harness.report(EventType.COMPLETED, "job-1", 2)
    replicas.accept_all = True
    await replicas.run_rounds([1])
    assert [arrival.type for arrival in replicas.arrivals] == [EventType.PROGRESS]
    await replicas.advance(LEASE_AND_A_SECOND)
    await replicas.run_rounds([1])
    assert [arrival.type for arrival in replicas.arrivals] == [EventType.PROGRESS, EventType.COMPLETED]


async def test_an_attempt_interrupted_before_the_clock_was_set_back_can_be_redelivered(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    replicas = ReplicaPair(harness)
    harness.clock.advance(DAY)
    await harness.complete_export()
    await replicas.run_rounds([0])
    await replicas.kill(0)
    harness.clock.now = BEGIN
    await replicas.run_rounds([1])
    harness.clock.advance(LEASE_AND_A_SECOND)
    async with harness.database.transaction() as session:
        (row,) = await harness.load_deliveries()
        again = await recovery.redeliver(session, delivery_from_row(row), now=harness.clock.now)
    assert again is not None


async def test_five_days_of_failures_that_began_ahead_are_five_days_from_when_the_clock_was_set_back(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    harness.clock.advance(100 * DAY)
    await harness.complete_export("job-ahead")
    await harness.deliver_all()
    harness.clock.now = BEGIN
    await harness.deliver_all()
    assert (await harness.load_endpoints())[0]["failing_since"] == BEGIN
    while harness.clock.now < BEGIN + DISABLED_AFTER_SECONDS:
        harness.clock.advance(30 * HOUR)
        assert (await harness.load_endpoints())[0]["enabled"]
        await harness.complete_export(f"job-{harness.clock.now:.0f}")
        await harness.deliver_all()
    assert not (await harness.load_endpoints())[0]["enabled"]


async def test_a_secret_rotated_before_the_clock_was_set_back_signs_for_a_day(
    harness: WebhookHarness,
) -> None:
    endpoint = await harness.create_endpoint()
    harness.clock.advance(100 * DAY)
    async with harness.database.transaction() as session:
        await endpoints.rotate_secret(session, endpoint, now=harness.clock.now)
    harness.clock.now = BEGIN
    await harness.deliver_all()
    async with harness.database.reading() as session:
        (rotate_secret,) = await endpoints.list_by_ids(session, [endpoint.endpoint_id])
    overlap = endpoints.OVERLAP_SECONDS
    assert len(active_secrets(rotate_secret, now=BEGIN + overlap - 1)) == 2
    assert len(active_secrets(rotate_secret, now=BEGIN + overlap)) == 1


@pytest.mark.parametrize("leap", [2 * HOUR, 5 * DAY, 400 * DAY], ids=["hours", "five days", "a year"])
async def test_a_clock_that_leaps_forward_disables_no_endpoint_and_loses_nothing(
    harness: WebhookHarness, leap: float
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    for job_id in ("job-1", "job-2"):
        await harness.complete_export(job_id)
        await harness.deliver_all()
        harness.clock.advance(HOUR)
    harness.clock.advance(leap)
    await harness.complete_export("job-3")
    await harness.deliver_all()
    assert (await harness.load_endpoints())[0]["enabled"]
    harness.respond_with(204)
    harness.clock.advance(DAY)
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"] * 3


async def test_a_clock_that_leaps_forward_and_back_loses_no_delivery(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await harness.complete_export("job-1")
    await harness.deliver_all()
    for ahead in (9 * DAY, 2 * HOUR):
        harness.clock.advance(ahead)
        await harness.complete_export(f"job-{ahead}")
        await harness.deliver_all()
        harness.clock.now = BEGIN
        await harness.deliver_all()
    assert (await harness.load_endpoints())[0]["enabled"]
    harness.respond_with(204)
    harness.clock.advance(2.2 * HOUR)
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"] * 3
