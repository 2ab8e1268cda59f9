"""A clock that the test moves walks the schedule to its end, and an endpoint to its being disabled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from callbacks.envelope import EventType
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoint_status, endpoints, recovery, serializers
from service.webhooks.models import ENDPOINTS, DisabledReason
from service.webhooks.retry_policy import (
    DISABLED_AFTER_SECONDS,
    JITTER,
    SCHEDULE_SECONDS,
    next_delivery_delay,
)
from tests.service.webhooks.webhook_harness import BEGIN, URL, Shop

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
MOMENT = 0.001


async def next_at(shop: Shop, job_id: str = "job-1") -> float:
    (row,) = [row for row in await shop.deliveries() if row["job_id"] == job_id]
    assert row["state"] == "pending"
    return float(str(row["next_at"]))


async def failed_for(shop: Shop, seconds: float) -> None:
    """An export ends every thirty hours, and the endpoint takes none of them."""
    until = shop.clock.now + seconds
    number = 0
    while shop.clock.now < until:
        number += 1
        await shop.completed(f"job-{shop.clock.now:.0f}")
        await shop.sent()
        shop.clock.forward(30 * HOUR)


def test_the_webhook_schedule_is_the_documented_one() -> None:
    hours = [next_delivery_delay(attempt, lambda: 0.5) for attempt in range(1, 11)]
    expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert hours == [*map(pytest.approx, expected), None]


@given(attempt=st.integers(1, 9), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_a_tenth(attempt: int, chance: float) -> None:
    delay, middle = next_delivery_delay(attempt, lambda: chance), next_delivery_delay(attempt, lambda: 0.5)
    assert delay is not None
    assert middle is not None
    assert 0.9 * middle <= delay * 1.000_001
    assert delay <= 1.1 * middle * 1.000_001


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_count_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        next_delivery_delay(attempt, lambda: 0)


async def test_a_delivery_is_tried_along_the_whole_schedule_and_then_has_failed(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    await shop.completed()
    await shop.sent()
    for delay in SCHEDULE_SECONDS:
        due = await next_at(shop)
        assert abs(due - shop.clock.now - delay) <= delay * JITTER
        before = len(shop.received)
        shop.clock.now = due - MOMENT
        await shop.sent()
        assert len(shop.received) == before
        shop.clock.now = due
        await shop.sent()
        assert len(shop.received) == before + 1
    (row,) = await shop.deliveries()
    assert (row["state"], row["tries"], row["ended_at"]) == ("failed", 10, shop.clock.now)
    assert len({request.headers["webhook-id"] for request in shop.received}) == 1
    assert [attempt["attempt"] for attempt in await shop.attempts()] == list(range(1, 11))
    shop.clock.forward(100 * DAY)
    await shop.sent()
    assert len(shop.received) == 10


async def test_two_deliveries_that_failed_together_are_not_tried_together(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    for job_id in ("job-1", "job-2"):
        await shop.completed(job_id)
        await shop.sent()
    assert await next_at(shop, "job-1") != await next_at(shop, "job-2")


async def test_five_days_of_failures_disable_the_endpoint_and_tell_its_owner(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.answers(500)
    await failed_for(shop, DISABLED_AFTER_SECONDS)
    (row,) = await shop.endpoints()
    assert (row["enabled"], row["failing_since"], shop.disabled) == (True, BEGIN, [])
    shop.clock.now = BEGIN + DISABLED_AFTER_SECONDS
    await shop.completed("the last straw")
    await shop.sent()
    (row,) = await shop.endpoints()
    assert (row["enabled"], row["disabled_reason"]) == (False, DisabledReason.FAILING)
    (told,) = shop.disabled
    shown = serializers.endpoint_to_dict(told)
    assert (shown["id"], shown["enabled"]) == (endpoint.endpoint_id, False)
    assert shown["disabled_reason"] == "failing"
    assert shown["disabled_at"] > shown["failing_since"]
    assert {row["state"] for row in await shop.deliveries()} == {"failed"}
    received = len(shop.received)
    await shop.completed("too late")
    shop.clock.forward(DAY)
    await shop.sent()
    assert len(shop.received) == received


async def test_a_success_in_between_starts_the_five_days_anew(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    await failed_for(shop, 4 * DAY)
    shop.answers(204)
    await shop.completed("one that arrives")
    await shop.sent()
    assert (await shop.endpoints())[0]["failing_since"] is None
    shop.answers(500)
    began = shop.clock.now
    await failed_for(shop, 4.5 * DAY)
    (row,) = await shop.endpoints()
    assert (row["enabled"], row["failing_since"]) == (True, began)
    await failed_for(shop, DAY)
    assert not (await shop.endpoints())[0]["enabled"]


async def test_two_outages_with_nothing_sent_between_are_no_five_days_of_failures(shop: Shop) -> None:
    await shop.endpoint(events=["export.progress"])
    shop.answers(500)
    for job_id in ("job-1", "job-2"):
        await shop.submitted(job_id)
        for _ in range(4):
            await shop.sent()
            shop.clock.forward(15)
        shop.clock.forward(DISABLED_AFTER_SECONDS)
    assert {row["state"] for row in await shop.deliveries()} == {"failed"}
    assert (await shop.endpoints())[0]["enabled"]


async def test_tests_that_fail_are_held_against_no_endpoint(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.answers(500)
    async with shop.database.transaction() as session:
        await recovery.create_test_delivery(session, endpoint, now=shop.clock.now)
    await shop.sent()
    (row,) = await shop.deliveries()
    assert (row["state"], row["tries"]) == ("failed", 1)
    assert (await shop.endpoints())[0]["failing_since"] is None


async def test_what_was_missed_while_it_was_disabled_is_recovered_once(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.answers(410)
    await shop.completed("job-1")
    await shop.sent()
    shop.answers(204)
    await shop.completed("job-2")
    async with shop.database.transaction() as session:
        enabled = await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
    assert enabled is not None
    await shop.completed("job-3")
    await shop.sent()
    view = JobSerializer("https://exports.example")
    made = []
    for _ in range(2):
        async with shop.database.transaction() as session:
            made += [
                await recovery.recover_missed(
                    session, enabled, view, since=BEGIN, after="", now=shop.clock.now
                )
            ]
        await shop.sent()
    assert made == [(2, None), (0, None)]
    states = [(row["job_id"], row["state"]) for row in await shop.deliveries()]
    assert states == [("job-1", "delivered"), ("job-2", "delivered"), ("job-3", "delivered")]
    assert len(shop.received) == 4


async def test_what_was_recovered_makes_way_for_newer_news(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.answers(410)
    await shop.submitted("job-1")
    await shop.told(EventType.FAILED, "job-1", 1)
    await shop.sent()
    async with shop.database.transaction() as session:
        enabled = await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
        assert enabled is not None
        view = JobSerializer("https://exports.example")
        await recovery.recover_missed(session, enabled, view, since=BEGIN, after="", now=shop.clock.now)
    shop.answers(500)
    await shop.sent()
    shop.answers(204)
    await shop.retried("job-1")
    await shop.told(EventType.COMPLETED, "job-1", 1, attempt=2)
    shop.clock.forward(HOUR)
    await shop.sent()
    assert shop.types()[-1] == "export.completed"
    assert [row["state"] for row in await shop.deliveries()] == ["superseded", "delivered"]


@pytest.mark.parametrize("written", ["disabled", "removed"])
async def test_what_was_written_while_its_endpoint_went_does_not_wait_for_ever(
    shop: Shop, written: str
) -> None:
    """A transaction that saw the endpoint as it was commits after the one that disabled it."""
    endpoint = await shop.endpoint()
    await shop.completed()
    async with shop.database.transaction() as session:
        if written == "disabled":
            await session.execute(update(ENDPOINTS).values(enabled=False))
        else:
            await endpoints.remove(session, "ada", endpoint.endpoint_id)
    await shop.sent()
    (row,) = await shop.deliveries()
    assert (row["state"], row["ended_at"]) == ("failed", BEGIN)
    assert shop.received == []


async def test_a_long_backlog_of_a_disabled_endpoint_ends_little_by_little(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    await shop.backlog(endpoint, endpoint_status.BATCH_ROWS * 2 + 10)
    async with shop.database.transaction() as session:
        await endpoint_status.disable(session, endpoint.endpoint_id, DisabledReason.BY_USER, now=BEGIN)
    ended = [row for row in await shop.deliveries() if row["state"] == "failed"]
    assert len(ended) == endpoint_status.BATCH_ROWS
    await shop.sent()
    assert {row["state"] for row in await shop.deliveries()} == {"failed"}
    assert URL not in [str(request.url) for request in shop.received]
