"""RetentionTask deletes old deliveries, their log and endpoints of ended exports only."""

from sqlalchemy import insert

from service.retention import Retention, RetentionTask
from service.webhooks.models import ATTEMPTS, DELIVERIES
from tests.service.webhooks.webhook_harness import WebhookHarness

DAY = 86_400.0
RETENTION = Retention(events_seconds=30 * DAY)


async def delete_expired(harness: WebhookHarness) -> int:
    return await RetentionTask(harness.database, RETENTION).delete_expired(now=harness.clock.now)


async def test_old_deliveries_are_deleted_with_their_log_and_recent_ones_stay(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    await harness.complete_export("old")
    await harness.deliver_all()
    harness.clock.advance(20 * DAY)
    await harness.complete_export("young")
    await harness.deliver_all()
    harness.clock.advance(11 * DAY)
    await delete_expired(harness)
    assert [row["job_id"] for row in await harness.load_deliveries()] == ["young"]
    assert len(await harness.load_attempts()) == 1
    assert len(await harness.load_endpoints()) == 1


async def test_pending_deliveries_are_never_deleted_by_age(harness: WebhookHarness) -> None:
    await harness.create_endpoint(job_id="job-1")
    await harness.complete_export("job-1")
    harness.clock.advance(40 * DAY)
    await delete_expired(harness)
    assert len(await harness.load_endpoints()) == 1
    await harness.deliver_all()
    assert [row["state"] for row in await harness.load_deliveries()] == ["delivered"]


async def test_an_endpoint_of_one_export_is_deleted_after_its_last_delivery(harness: WebhookHarness) -> None:
    for job_id in ("over", "running"):
        await harness.create_endpoint(job_id=job_id)
        await harness.submit_export(job_id)
    await harness.complete_export("another, of no endpoint")
    await harness.report_completed("over")
    await harness.deliver_all()
    await delete_expired(harness)
    assert {row["job_id"] for row in await harness.load_endpoints()} == {"over", "running"}
    harness.clock.advance(31 * DAY)
    await delete_expired(harness)
    assert [row["job_id"] for row in await harness.load_endpoints()] == ["running"]


async def test_endpoints_of_users_are_never_deleted_by_age(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    harness.clock.advance(400 * DAY)
    await delete_expired(harness)
    assert len(await harness.load_endpoints()) == 1


async def test_more_rows_than_a_batch_are_deleted(harness: WebhookHarness) -> None:
    endpoint = await harness.create_endpoint()
    await harness.add_backlog(endpoint, 1_200)
    async with harness.database.transaction() as session:
        await session.execute(DELIVERIES.update().values(state="delivered", ended_at=harness.clock.now))
        rows = [
            {"delivery_id": f"d{number}", "attempt": 1, "at": harness.clock.now} for number in range(1_200)
        ]
        await session.execute(insert(ATTEMPTS), rows)
    harness.clock.advance(31 * DAY)
    assert await delete_expired(harness) == 2_400
    assert (await harness.load_deliveries(), await harness.load_attempts()) == ([], [])
