"""Interrupted attempts: their log entries, their repetition and the order of events."""

import pytest
from sqlalchemy.exc import IntegrityError

from callbacks.envelope import EventType, Phase
from service.jobs.serializers import JobSerializer
from service.webhooks import deliveries, endpoint_status, recovery
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.models import DisabledReason, Endpoint
from service.webhooks.retry_policy import AttemptResult
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness

LEASE_SECONDS = 60.0


async def claim_types(harness: WebhookHarness) -> list[str]:
    """Claim what is due, as a worker that dies before it sends, and return the types."""
    return [claimed.delivery.type for claimed in await claim_due(harness)]


async def claim_due(harness: WebhookHarness) -> list[ClaimedDelivery]:
    """Claim what is due."""
    async with harness.database.transaction() as session:
        ids = await harness.list_due(session)
        return await deliveries.claim(session, ids, lease_seconds=LEASE_SECONDS, now=harness.clock.now)


async def recover(harness: WebhookHarness, endpoint: Endpoint) -> int:
    """Run a recovery and return how many deliveries it makes due."""
    serializer = JobSerializer("https://exports.example")
    async with harness.database.transaction() as session:
        count, _ = await recovery.recover_missed(
            session, endpoint, serializer, since=BEGIN, now=harness.clock.now
        )
    return count


async def test_a_service_that_runs_alone_resends_at_once_what_it_was_sending_before(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    await harness.complete_export()
    assert await claim_types(harness) == ["export.completed"]
    await harness.deliver_all()
    assert harness.received == []
    await harness.worker.resume()
    await harness.deliver_all()
    assert harness.list_types() == ["export.completed"]
    assert [row["error_code"] for row in await harness.load_attempts()] == ["interrupted", None]
    assert [row["tries"] for row in await harness.load_deliveries()] == [0]


async def test_an_attempt_in_flight_is_not_left_open_if_its_endpoint_is_disabled_and_the_service_dies(
    harness: WebhookHarness,
) -> None:
    endpoint = await harness.create_endpoint()
    await harness.complete_export()
    (claimed,) = await claim_due(harness)
    async with harness.database.transaction() as session:
        await endpoint_status.disable(session, endpoint.endpoint_id, DisabledReason.GONE, now=BEGIN)
    assert [row["error_code"] for row in await harness.load_attempts()] == ["interrupted"]
    async with harness.database.transaction() as session:  # the service lives, and the answer comes
        finished = [FinishedAttempt(claimed.delivery, AttemptResult(0.1, status=204))]
        await deliveries.record_results(session, finished, random=lambda: 0.5, now=BEGIN)
    assert [(row["status"], row["error_code"]) for row in await harness.load_attempts()] == [(204, None)]


async def test_results_that_the_database_refuses_do_not_stop_the_worker(
    harness: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise IntegrityError("UPDATE webhook_deliveries", None, ValueError("a duplicate key"))

    await harness.create_endpoint()
    await harness.complete_export()
    await harness.worker.run_round()
    await harness.worker.wait_idle()
    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "_update_deliveries", refuse)
        with pytest.raises(IntegrityError):
            await harness.worker.run_round()
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["pending"]
    harness.clock.advance(LEASE_SECONDS + 1)
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"]
    assert harness.list_types() == ["export.completed"] * 2


async def test_the_log_marks_the_attempt_of_a_superseded_event_as_interrupted(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint(events=["export.progress", "export.completed"])
    await harness.submit_export("job-1")
    assert await claim_types(harness) == ["export.progress"]
    await harness.report(EventType.COMPLETED, "job-1", 1)
    harness.clock.advance(LEASE_SECONDS + 1)
    await harness.deliver_all()
    assert harness.list_types() == ["export.completed"]
    assert [row["error_code"] for row in await harness.load_attempts()] == ["interrupted", None]


async def test_the_log_marks_a_later_attempt_as_interrupted_after_an_earlier_success(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    await harness.complete_export()
    (claimed,) = await claim_due(harness)
    harness.clock.advance(LEASE_SECONDS + 1)
    assert await claim_types(harness) == ["export.completed"]
    finished = FinishedAttempt(claimed.delivery, AttemptResult(0.1, status=204))
    async with harness.database.transaction() as session:
        await deliveries.record_results(session, [finished], random=lambda: 0.5, now=harness.clock.now)
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"]
    assert [row["error_code"] for row in await harness.load_attempts()] == [None, "interrupted"]


async def test_progress_that_is_replaced_while_it_is_claimed_waits_for_older_events(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint(events=["export.started", "export.progress"])
    await harness.submit_export("job-1")
    async with harness.database.reading() as session:
        ids = await harness.list_due(session)
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.report(EventType.PROGRESS, "job-1", 2)
    assert [row["sequence"] for row in await harness.load_deliveries()] == [2, 3]
    async with harness.database.transaction() as session:
        assert await deliveries.claim(session, ids, lease_seconds=LEASE_SECONDS, now=harness.clock.now) == []
    await harness.deliver_all()
    assert harness.list_types() == ["export.started", "export.progress"]


async def test_a_second_report_before_the_next_phase_is_not_a_second_start(harness: WebhookHarness) -> None:
    await harness.create_endpoint(events=["export.started"])
    await harness.submit_export("job-1")
    await harness.report(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await harness.report(EventType.PROGRESS, "job-1", 2, phase=Phase.STARTING, progress=0)
    await harness.deliver_all()
    assert harness.list_types() == ["export.started"]


async def test_a_recovery_does_not_wait_for_the_next_try_of_what_has_failed(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    harness.respond_with(500)
    await harness.complete_export()
    await harness.deliver_all()
    harness.respond_with(204)
    assert [await recover(harness, endpoint) for _ in range(2)] == [1, 0]
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"]
