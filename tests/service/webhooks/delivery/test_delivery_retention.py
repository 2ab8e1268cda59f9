"""RetentionTask deletes old deliveries, their log and the endpoints of finished exports, and nothing that is needed."""

from sqlalchemy import insert

from service.retention import Retention, RetentionTask
from service.webhooks.models import ATTEMPTS, DELIVERIES
from tests.service.webhooks.webhook_harness import Shop

DAY = 86_400.0
KEPT = Retention(events_seconds=30 * DAY)


async def tidied(shop: Shop) -> int:
    return await RetentionTask(shop.database, KEPT).delete_expired(now=shop.clock.now)


async def test_old_deliveries_go_with_their_log_and_young_ones_stay(shop: Shop) -> None:
    await shop.endpoint()
    await shop.completed("old")
    await shop.sent()
    shop.clock.forward(20 * DAY)
    await shop.completed("young")
    await shop.sent()
    shop.clock.forward(11 * DAY)
    await tidied(shop)
    assert [row["job_id"] for row in await shop.deliveries()] == ["young"]
    assert len(await shop.attempts()) == 1
    assert len(await shop.endpoints()) == 1


async def test_what_is_still_to_be_sent_stays_however_old_it_is(shop: Shop) -> None:
    await shop.endpoint(job_id="job-1")
    await shop.completed("job-1")
    shop.clock.forward(40 * DAY)
    await tidied(shop)
    assert len(await shop.endpoints()) == 1
    await shop.sent()
    assert [row["state"] for row in await shop.deliveries()] == ["delivered"]


async def test_an_endpoint_of_one_export_goes_when_that_is_over_and_told_of(shop: Shop) -> None:
    for job_id in ("over", "running"):
        await shop.endpoint(job_id=job_id)
        await shop.submitted(job_id)
    await shop.completed("another, of no endpoint")
    await shop.told_the_end("over")
    await shop.sent()
    await tidied(shop)
    assert {row["job_id"] for row in await shop.endpoints()} == {"over", "running"}
    shop.clock.forward(31 * DAY)
    await tidied(shop)
    assert [row["job_id"] for row in await shop.endpoints()] == ["running"]


async def test_the_endpoints_of_users_are_theirs_to_remove(shop: Shop) -> None:
    await shop.endpoint()
    shop.clock.forward(400 * DAY)
    await tidied(shop)
    assert len(await shop.endpoints()) == 1


async def test_there_may_be_more_than_one_transaction_takes(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    await shop.backlog(endpoint, 1_200)
    async with shop.database.transaction() as session:
        await session.execute(DELIVERIES.update().values(state="delivered", ended_at=shop.clock.now))
        rows = [{"delivery_id": f"d{number}", "attempt": 1, "at": shop.clock.now} for number in range(1_200)]
        await session.execute(insert(ATTEMPTS), rows)
    shop.clock.forward(31 * DAY)
    assert await tidied(shop) == 2_400
    assert (await shop.deliveries(), await shop.attempts()) == ([], [])
