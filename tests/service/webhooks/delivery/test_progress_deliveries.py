"""Progress is delivered only while it is new: the latest, three attempts at most."""

import httpx

from callbacks.envelope import EventType
from infra.egress.results import Unreachable
from service.webhooks.retry_policy import LOCAL_FAULT_PAUSE_SECONDS, PROGRESS_LIFETIME_SECONDS
from tests.service.webhooks.webhook_harness import BEGIN, URL, WebhookHarness

PROGRESS = ["export.progress"]
HOUR = 3_600.0


async def submit_export_quietly(harness: WebhookHarness) -> None:
    """Submit an export and deliver its first event."""
    await harness.submit_export("job-1")
    await harness.deliver_all()
    harness.received.clear()


async def load_states(harness: WebhookHarness) -> list[tuple[object, object]]:
    return [(row["sequence"], row["state"]) for row in await harness.load_deliveries()]


async def test_progress_is_attempted_three_times_within_seconds(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    harness.respond_with(500)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    for seconds in (0, 2, 10, HOUR):
        harness.clock.advance(seconds)
        await harness.deliver_all()
    assert harness.list_sequences() == [2, 2, 2]
    assert await load_states(harness) == [(1, "delivered"), (2, "failed")]


async def test_failed_progress_is_superseded_by_the_next_one(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    harness.respond_with(500)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    await harness.deliver_all()
    harness.respond_with(204)
    await harness.report(EventType.PROGRESS, "job-1", 2, progress=42)
    harness.clock.advance(2)
    await harness.deliver_all()
    assert harness.list_sequences() == [2, 3]
    assert await load_states(harness) == [(1, "delivered"), (2, "superseded"), (3, "delivered")]


async def test_progress_that_is_too_old_is_dropped_even_without_a_newer_event(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    await harness.report(EventType.COMPLETED, "job-1", 2)
    harness.clock.advance(PROGRESS_LIFETIME_SECONDS + 1)
    await harness.deliver_all()
    assert harness.received == []
    assert await load_states(harness) == [(1, "delivered"), (2, "superseded")]


async def test_replaced_progress_gets_the_time_of_the_new_one(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    harness.clock.advance(PROGRESS_LIFETIME_SECONDS + 1)
    await harness.report(EventType.PROGRESS, "job-1", 2, progress=97)
    await harness.deliver_all()
    assert harness.list_sequences() == [3]


async def test_progress_is_dropped_for_a_consumer_that_asks_for_an_hour(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    harness.respond_with(503, headers={"retry-after": "3600"})
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    await harness.deliver_all()
    harness.respond_with(204)
    harness.clock.advance(HOUR)
    await harness.deliver_all()
    assert harness.list_sequences() == [2]
    assert await load_states(harness) == [(1, "delivered"), (2, "failed")]


async def test_progress_released_by_a_shutdown_is_superseded_by_the_next_one(harness: WebhookHarness) -> None:
    """It counts as sent, so the next progress gets a row of its own and supersedes it."""
    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    await harness.worker.run_round()
    await harness.worker.stop()
    assert harness.received == []
    await harness.report(EventType.PROGRESS, "job-1", 2, progress=42)
    await harness.report(EventType.PROGRESS, "job-1", 3, progress=43)
    await harness.deliver_all()
    assert harness.list_sequences() == [4]
    assert await load_states(harness) == [(1, "delivered"), (2, "superseded"), (4, "delivered")]
    (interrupted,) = [row for row in await harness.load_attempts() if row["status"] is None]
    assert interrupted["at"] == BEGIN


async def test_progress_that_a_fault_of_the_service_keeps_back_is_superseded_by_the_next_one(
    harness: WebhookHarness,
) -> None:
    """It has no failed try, as progress that was never sent; of that, there may be one row only."""

    def fail_here(_request: httpx.Request) -> httpx.Response:
        raise Unreachable("local", "This service can open no more connections.")

    await harness.create_endpoint(events=PROGRESS)
    await submit_export_quietly(harness)
    await harness.report(EventType.PROGRESS, "job-1", 1, progress=41)
    harness.receivers.handlers[URL] = fail_here
    await harness.worker.run_round()
    await harness.report(EventType.PROGRESS, "job-1", 2, progress=42)
    await harness.worker.wait_idle()
    harness.respond_with(204)
    await harness.deliver_all()
    assert harness.list_sequences() == [2, 3]
    harness.clock.advance(LOCAL_FAULT_PAUSE_SECONDS)
    await harness.deliver_all()
    assert await load_states(harness) == [(1, "delivered"), (2, "superseded"), (3, "delivered")]
