"""The retry schedule, and when an endpoint is disabled, on a clock that is advanced."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from callbacks.envelope import EventType
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoint_status, endpoints, recovery, serializers
from service.webhooks.models import ENDPOINTS, DisabledReason
from service.webhooks.rehearsal.events import Rehearsal, create_test_deliveries
from service.webhooks.retry_policy import (
    DISABLED_AFTER_SECONDS,
    JITTER,
    SCHEDULE_SECONDS,
    next_delivery_delay,
)
from tests.service.webhooks.webhook_harness import BEGIN, URL, WebhookHarness

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
MOMENT = 0.001


async def next_at(harness: WebhookHarness, job_id: str = "job-1") -> float:
    (row,) = [row for row in await harness.load_deliveries() if row["job_id"] == job_id]
    assert row["state"] == "pending"
    return float(str(row["next_at"]))


async def fail_for(harness: WebhookHarness, seconds: float) -> None:
    """Complete an export every thirty hours, which the endpoint does not accept."""
    until = harness.clock.now + seconds
    number = 0
    while harness.clock.now < until:
        number += 1
        await harness.complete_export(f"job-{harness.clock.now:.0f}")
        await harness.deliver_all()
        harness.clock.advance(30 * HOUR)


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


async def test_a_delivery_is_tried_along_the_whole_schedule_and_then_has_failed(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await harness.complete_export()
    await harness.deliver_all()
    for delay in SCHEDULE_SECONDS:
        due = await next_at(harness)
        assert abs(due - harness.clock.now - delay) <= delay * JITTER
        before = len(harness.received)
        harness.clock.now = due - MOMENT
        await harness.deliver_all()
        assert len(harness.received) == before
        harness.clock.now = due
        await harness.deliver_all()
        assert len(harness.received) == before + 1
    (row,) = await harness.load_deliveries()
    assert (row["state"], row["tries"], row["ended_at"]) == ("failed", 10, harness.clock.now)
    assert len({request.headers["webhook-id"] for request in harness.received}) == 1
    assert [attempt["attempt"] for attempt in await harness.load_attempts()] == list(range(1, 11))
    harness.clock.advance(100 * DAY)
    await harness.deliver_all()
    assert len(harness.received) == 10


async def test_two_deliveries_that_failed_together_are_not_tried_together(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    for job_id in ("job-1", "job-2"):
        await harness.complete_export(job_id)
        await harness.deliver_all()
    assert await next_at(harness, "job-1") != await next_at(harness, "job-2")


async def test_five_days_of_failures_disable_the_endpoint_and_tell_its_owner(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    harness.respond_with(500)
    await fail_for(harness, DISABLED_AFTER_SECONDS)
    (row,) = await harness.load_endpoints()
    assert (row["enabled"], row["failing_since"], harness.disabled) == (True, BEGIN, [])
    harness.clock.now = BEGIN + DISABLED_AFTER_SECONDS
    await harness.complete_export("the last straw")
    await harness.deliver_all()
    (row,) = await harness.load_endpoints()
    assert (row["enabled"], row["disabled_reason"]) == (False, DisabledReason.FAILING)
    (notified,) = harness.disabled
    endpoint_dict = serializers.endpoint_to_dict(notified)
    assert (endpoint_dict["id"], endpoint_dict["enabled"]) == (endpoint.endpoint_id, False)
    assert endpoint_dict["disabled_reason"] == "failing"
    assert (endpoint_dict["disabled_at"] or "") > (endpoint_dict["failing_since"] or "")
    assert {row["state"] for row in await harness.load_deliveries()} == {"failed"}
    received = len(harness.received)
    await harness.complete_export("too late")
    harness.clock.advance(DAY)
    await harness.deliver_all()
    assert len(harness.received) == received


async def test_a_success_in_between_restarts_the_five_days(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await fail_for(harness, 4 * DAY)
    harness.respond_with(204)
    await harness.complete_export("one that arrives")
    await harness.deliver_all()
    assert (await harness.load_endpoints())[0]["failing_since"] is None
    harness.respond_with(500)
    began = harness.clock.now
    await fail_for(harness, 4.5 * DAY)
    (row,) = await harness.load_endpoints()
    assert (row["enabled"], row["failing_since"]) == (True, began)
    await fail_for(harness, DAY)
    assert not (await harness.load_endpoints())[0]["enabled"]


async def test_two_outages_with_nothing_sent_between_do_not_add_up(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint(events=["export.progress"])
    harness.respond_with(500)
    for job_id in ("job-1", "job-2"):
        await harness.submit_export(job_id)
        for _ in range(4):
            await harness.deliver_all()
            harness.clock.advance(15)
        harness.clock.advance(DISABLED_AFTER_SECONDS)
    assert {row["state"] for row in await harness.load_deliveries()} == {"failed"}
    assert (await harness.load_endpoints())[0]["enabled"]


async def test_a_failed_test_event_does_not_count_against_the_endpoint(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    harness.respond_with(500)
    async with harness.database.transaction() as session:
        serializer = JobSerializer("https://exports.example")
        await create_test_deliveries(session, endpoint, Rehearsal(), serializer, now=harness.clock.now)
    await harness.deliver_all()
    (row,) = await harness.load_deliveries()
    assert (row["state"], row["tries"]) == ("failed", 1)
    assert (await harness.load_endpoints())[0]["failing_since"] is None


async def test_missed_events_are_recovered_once(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    harness.respond_with(410)
    await harness.complete_export("job-1")
    await harness.deliver_all()
    harness.respond_with(204)
    await harness.complete_export("job-2")
    async with harness.database.transaction() as session:
        enabled = await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
    assert enabled is not None
    await harness.complete_export("job-3")
    await harness.deliver_all()
    serializer = JobSerializer("https://exports.example")
    results = []
    for _ in range(2):
        async with harness.database.transaction() as session:
            results += [
                await recovery.recover_missed(
                    session, enabled, serializer, since=BEGIN, now=harness.clock.now
                )
            ]
        await harness.deliver_all()
    assert results == [(2, None), (0, None)]
    states = [(row["job_id"], row["state"]) for row in await harness.load_deliveries()]
    assert states == [("job-1", "delivered"), ("job-2", "delivered"), ("job-3", "delivered")]
    assert len(harness.received) == 4


async def test_a_recovered_event_is_superseded_by_a_newer_one(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    harness.respond_with(410)
    await harness.submit_export("job-1")
    await harness.report(EventType.FAILED, "job-1", 1)
    await harness.deliver_all()
    async with harness.database.transaction() as session:
        enabled = await endpoint_status.enable(session, "ada", endpoint.endpoint_id)
        assert enabled is not None
        serializer = JobSerializer("https://exports.example")
        await recovery.recover_missed(session, enabled, serializer, since=BEGIN, now=harness.clock.now)
    harness.respond_with(500)
    await harness.deliver_all()
    harness.respond_with(204)
    await harness.retry_export("job-1")
    await harness.report(EventType.COMPLETED, "job-1", 1, attempt=2)
    harness.clock.advance(HOUR)
    await harness.deliver_all()
    assert harness.list_types()[-1] == "export.completed"
    assert [row["state"] for row in await harness.load_deliveries()] == ["superseded", "delivered"]


@pytest.mark.parametrize("written", ["disabled", "removed"])
async def test_a_delivery_written_while_its_endpoint_is_disabled_or_removed_fails(
    harness: WebhookHarness, written: str
) -> None:
    """A transaction that read the endpoint before it was disabled commits afterwards."""
    endpoint = await harness.create_endpoint()
    await harness.complete_export()
    async with harness.database.transaction() as session:
        if written == "disabled":
            await session.execute(update(ENDPOINTS).values(enabled=False))
        else:
            await endpoints.remove(session, "ada", endpoint.endpoint_id)
    await harness.deliver_all()
    (row,) = await harness.load_deliveries()
    assert (row["state"], row["ended_at"]) == ("failed", BEGIN)
    assert harness.received == []


async def test_a_long_backlog_of_a_disabled_endpoint_fails_in_batches(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    await harness.add_backlog(endpoint, endpoint_status.BATCH_ROWS * 2 + 10)
    async with harness.database.transaction() as session:
        await endpoint_status.disable(session, endpoint.endpoint_id, DisabledReason.BY_USER, now=BEGIN)
    ended = [row for row in await harness.load_deliveries() if row["state"] == "failed"]
    assert len(ended) == endpoint_status.BATCH_ROWS
    await harness.deliver_all()
    assert {row["state"] for row in await harness.load_deliveries()} == {"failed"}
    assert URL not in [str(request.url) for request in harness.received]
