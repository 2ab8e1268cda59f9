"""The outbox writes each wanted event once, with its change, and conflates progress."""

import pytest

from callbacks.envelope import EventType, Phase
from service.jobs import transitions
from tests.service.webhooks.webhook_harness import WebhookHarness
from tests.support.job_factory import build_change, write_changes


async def test_each_event_that_is_wanted_is_delivered_once_and_in_order(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    await harness.submit_export("job-1")
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.report(EventType.PROGRESS, "job-1", 2)
    await harness.report(EventType.COMPLETED, "job-1", 3)
    await harness.deliver_all()
    assert harness.list_types() == ["export.started", "export.completed"]
    assert {row["state"] for row in await harness.load_deliveries()} == {"delivered"}


async def test_unsent_progress_is_replaced_in_its_row(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=["export.progress"])
    await harness.submit_export("job-1")
    for step in range(1, 6):
        await harness.report(EventType.PROGRESS, "job-1", step, progress=step * 10)
    assert len(await harness.load_deliveries()) == 1
    await harness.deliver_all()
    assert harness.list_sequences() == [6]


async def test_all_events_of_one_batch_are_delivered(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=["export.started", "export.progress"])
    await harness.submit_export("job-1")
    now = harness.clock.now
    await write_changes(
        harness.writer,
        build_change(EventType.STARTED, "job-1", 1, 1, phase=Phase.STARTING, now=now),
        build_change(EventType.STARTED, "job-1", 1, 2, phase=Phase.PROCESSING, now=now),
        build_change(EventType.PROGRESS, "job-1", 1, 3, phase=Phase.PROCESSING, progress=7, now=now),
    )
    rows = [(row["type"], row["sequence"]) for row in await harness.load_deliveries()]
    assert rows == [("export.started", 2), ("export.progress", 4)]


async def test_a_change_that_is_rolled_back_writes_no_delivery(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=["export.cancelled"])
    await harness.submit_export("job-1")

    async def fail_after_cancel() -> None:
        async with harness.database.transaction() as session:
            await transitions.cancel(session, "ada", "job-1", now=harness.clock.now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_cancel()
    assert await harness.load_deliveries() == []


async def test_endpoints_of_other_users_receive_nothing(harness: WebhookHarness) -> None:
    await harness.create_endpoint(user="bob")
    await harness.submit_export("job-1")
    await harness.report(EventType.COMPLETED, "job-1", 1)
    await harness.deliver_all()
    assert harness.received == []


async def test_an_endpoint_of_one_export_receives_only_its_events(harness: WebhookHarness) -> None:
    await harness.create_endpoint(job_id="job-2")
    for job_id in ("job-1", "job-2"):
        await harness.submit_export(job_id)
        await harness.report(EventType.COMPLETED, job_id, 1)
    await harness.deliver_all()
    assert [row["job_id"] for row in await harness.load_deliveries()] == ["job-2"]
    assert harness.list_types() == ["export.completed"]


async def test_a_failed_event_is_superseded_and_never_sent_after_a_newer_one(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await harness.submit_export("job-1")
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.deliver_all()
    harness.respond_with(204)
    await harness.report(EventType.COMPLETED, "job-1", 2)
    harness.clock.advance(3_600)
    await harness.deliver_all()
    assert harness.list_types() == ["export.started", "export.completed"]
    assert [row["state"] for row in await harness.load_deliveries()] == ["superseded", "delivered"]
