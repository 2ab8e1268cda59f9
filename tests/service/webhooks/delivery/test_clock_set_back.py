"""A clock that was ahead and is set back, and one that leaps forward: no event waits for that day, and none is
lost."""

import pytest

from callbacks.envelope import EventType
from service.webhooks import endpoint_status, endpoints, recovery
from service.webhooks.models import DisabledReason, delivery_from_row
from service.webhooks.retry_policy import DISABLED_AFTER_SECONDS
from service.webhooks.signing import active_secrets
from service.webhooks.worker import DeliveryWorker
from tests.service.webhooks.replica_pair import LEASE_AND_A_SECOND, Replicas
from tests.service.webhooks.webhook_harness import BEGIN, Shop
from tests.support.job_factory import Row

HOUR, DAY = 3_600.0, 86_400.0
FIRST_RETRY = 5.5
"""The schedule's first delay with all of its jitter."""


def restart(shop: Shop) -> None:
    """Go on with a service that knows nothing of what the clock has shown."""
    before = shop.deliverer
    shop.deliverer = DeliveryWorker(
        shop.database, before._egress, before._outbox, shop.disabled.append, clock=shop.clock
    )


async def delivery(shop: Shop) -> Row:
    (row,) = await shop.deliveries()
    return row


@pytest.mark.parametrize("ahead", [2 * HOUR, 400 * DAY], ids=["hours", "a year"])
@pytest.mark.parametrize("restarts", [False, True], ids=["while it runs", "while it is down"])
async def test_a_retry_that_was_scheduled_ahead_comes_after_its_own_delay(
    shop: Shop, ahead: float, restarts: bool
) -> None:
    await shop.endpoint()
    shop.clock.forward(ahead)
    shop.answers(500)
    await shop.completed()
    await shop.sent()
    shop.clock.now = BEGIN
    shop.answers(204)
    if restarts:
        restart(shop)
    await shop.sent()
    assert len(shop.received) == 1
    shop.clock.forward(FIRST_RETRY)
    await shop.sent()
    assert ((await delivery(shop))["state"], len(shop.received)) == ("delivered", 2)


async def test_a_receiver_that_asked_for_an_hour_while_the_clock_was_ahead_gets_an_hour(shop: Shop) -> None:
    await shop.endpoint()
    shop.clock.forward(3 * DAY)
    shop.answers(503, headers={"retry-after": "3600"})
    await shop.completed()
    await shop.sent()
    shop.clock.now = BEGIN
    await shop.sent()
    shop.clock.forward(HOUR - 1)
    await shop.sent()
    assert len(shop.received) == 1
    shop.clock.forward(1)
    await shop.sent()
    assert len(shop.received) == 2


async def test_what_was_written_ahead_and_not_sent_yet_is_sent_at_once(shop: Shop) -> None:
    await shop.endpoint()
    shop.clock.forward(DAY)
    await shop.completed()
    shop.clock.now = BEGIN
    await shop.sent()
    row = await delivery(shop)
    assert (row["state"], row["created_at"], row["ended_at"]) == ("delivered", BEGIN, BEGIN)


async def test_a_lease_that_was_taken_ahead_ends_as_any_other(shop: Shop) -> None:
    await shop.endpoint(events=[EventType.PROGRESS, EventType.COMPLETED])
    await shop.submitted("job-1")
    replicas = Replicas(shop)
    shop.clock.forward(DAY)
    await shop.told(EventType.PROGRESS, "job-1", 1)
    await replicas.rounds([0])
    await replicas.kill(0)
    shop.clock.now = BEGIN
    await shop.told(EventType.COMPLETED, "job-1", 2)
    replicas.polite = True
    await replicas.rounds([1])
    await replicas.forward(LEASE_AND_A_SECOND)
    await replicas.rounds([1])
    await replicas.rounds([1])
    assert replicas.arrivals[-1].type == EventType.COMPLETED
    assert [row["state"] for row in await shop.deliveries()] == ["superseded", "delivered"]


async def test_newer_news_does_not_wait_for_a_lease_that_was_taken_ahead_and_given_up(shop: Shop) -> None:
    endpoint = await shop.endpoint(events=[EventType.PROGRESS, EventType.COMPLETED])
    await shop.submitted("job-1")
    replicas = Replicas(shop)
    shop.clock.forward(DAY)
    await shop.told(EventType.PROGRESS, "job-1", 1)
    await replicas.rounds([0])
    async with shop.database.transaction() as session:
        await endpoint_status.disable(
            session, endpoint.endpoint_id, DisabledReason.BY_USER, now=shop.clock.now
        )
        await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
    await replicas.kill(0)
    shop.clock.now = BEGIN
    await shop.told(EventType.COMPLETED, "job-1", 2)
    replicas.polite = True
    await replicas.rounds([1])
    await replicas.forward(LEASE_AND_A_SECOND)
    await replicas.rounds([1])
    assert [one.type for one in replicas.arrivals] == [EventType.PROGRESS, EventType.COMPLETED]


async def test_what_was_sent_ahead_and_cut_off_can_be_sent_again_by_hand(shop: Shop) -> None:
    await shop.endpoint()
    replicas = Replicas(shop)
    shop.clock.forward(DAY)
    await shop.completed()
    await replicas.rounds([0])
    await replicas.kill(0)
    shop.clock.now = BEGIN
    await replicas.rounds([1])
    shop.clock.forward(LEASE_AND_A_SECOND)
    async with shop.database.transaction() as session:
        (row,) = await shop.deliveries()
        again = await recovery.redeliver(session, delivery_from_row(row), now=shop.clock.now)
    assert again is not None


async def test_five_days_of_failures_that_began_ahead_are_five_days_from_when_the_clock_was_set_back(
    shop: Shop,
) -> None:
    await shop.endpoint()
    shop.answers(500)
    shop.clock.forward(100 * DAY)
    await shop.completed("job-ahead")
    await shop.sent()
    shop.clock.now = BEGIN
    await shop.sent()
    assert (await shop.endpoints())[0]["failing_since"] == BEGIN
    while shop.clock.now < BEGIN + DISABLED_AFTER_SECONDS:
        shop.clock.forward(30 * HOUR)
        assert (await shop.endpoints())[0]["enabled"]
        await shop.completed(f"job-{shop.clock.now:.0f}")
        await shop.sent()
    assert not (await shop.endpoints())[0]["enabled"]


async def test_an_old_secret_that_was_replaced_ahead_signs_for_a_day_and_no_longer(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.clock.forward(100 * DAY)
    async with shop.database.transaction() as session:
        await endpoints.rotate_secret(session, endpoint, now=shop.clock.now)
    shop.clock.now = BEGIN
    await shop.sent()
    async with shop.database.reading() as session:
        (rotated,) = await endpoints.list_by_ids(session, [endpoint.endpoint_id])
    overlap = endpoints.OVERLAP_SECONDS
    assert len(active_secrets(rotated, now=BEGIN + overlap - 1)) == 2
    assert len(active_secrets(rotated, now=BEGIN + overlap)) == 1


@pytest.mark.parametrize("leap", [2 * HOUR, 5 * DAY, 400 * DAY], ids=["hours", "five days", "a year"])
async def test_a_clock_that_leaps_forward_disables_nobody_and_loses_nothing(shop: Shop, leap: float) -> None:
    await shop.endpoint()
    shop.answers(500)
    for job_id in ("job-1", "job-2"):
        await shop.completed(job_id)
        await shop.sent()
        shop.clock.forward(HOUR)
    shop.clock.forward(leap)
    await shop.completed("job-3")
    await shop.sent()
    assert (await shop.endpoints())[0]["enabled"]
    shop.answers(204)
    shop.clock.forward(DAY)
    await shop.sent()
    assert [row["state"] for row in await shop.deliveries()] == ["delivered"] * 3


async def test_a_clock_that_leaps_forward_and_back_leaves_everything_on_its_way(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    await shop.completed("job-1")
    await shop.sent()
    for ahead in (9 * DAY, 2 * HOUR):
        shop.clock.forward(ahead)
        await shop.completed(f"job-{ahead}")
        await shop.sent()
        shop.clock.now = BEGIN
        await shop.sent()
    assert (await shop.endpoints())[0]["enabled"]
    shop.answers(204)
    shop.clock.forward(2.2 * HOUR)
    await shop.sent()
    assert [row["state"] for row in await shop.deliveries()] == ["delivered"] * 3
