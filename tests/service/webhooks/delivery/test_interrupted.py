"""Attempts that were cut off: what the log says of them, who makes them again, and that nothing overtakes."""

from callbacks.envelope import EventType, Phase
from service.jobs.serializers import JobSerializer
from service.webhooks import deliveries, recovery
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.due_query import select_due
from service.webhooks.models import Endpoint
from service.webhooks.retry_policy import AttemptResult
from tests.service.webhooks.webhook_harness import BEGIN, Shop

LEASE_SECONDS = 60.0


async def claimed(shop: Shop) -> list[str]:
    """What is due is claimed, by somebody who dies before sending any of it."""
    return [one.delivery.type for one in await begun(shop)]


async def begun(shop: Shop) -> list[ClaimedDelivery]:
    """What is due is claimed."""
    async with shop.database.transaction() as session:
        found = await select_due(session, each=8, in_flight_here=(), now=shop.clock.now)
        ids = [one for each in found for one in each.due]
        return await deliveries.claim(session, ids, lease_seconds=LEASE_SECONDS, now=shop.clock.now)


async def recovered(shop: Shop, endpoint: Endpoint) -> int:
    """How many deliveries a recovery brings about."""
    view = JobSerializer("https://exports.example")
    async with shop.database.transaction() as session:
        made, _ = await recovery.recover_missed(
            session, endpoint, view, since=BEGIN, after="", now=shop.clock.now
        )
    return made


async def test_a_service_that_is_alone_sends_at_once_what_its_earlier_life_was_sending(shop: Shop) -> None:
    await shop.endpoint()
    await shop.completed()
    assert await claimed(shop) == ["export.completed"]
    await shop.sent()
    assert shop.received == []
    await shop.deliverer.resume()
    await shop.sent()
    assert shop.types() == ["export.completed"]
    assert [row["error_code"] for row in await shop.attempts()] == ["interrupted", None]
    assert [row["tries"] for row in await shop.deliveries()] == [0]


async def test_the_log_says_what_came_of_an_attempt_whose_news_was_overtaken(shop: Shop) -> None:
    await shop.endpoint(events=["export.progress", "export.completed"])
    await shop.submitted("job-1")
    assert await claimed(shop) == ["export.progress"]
    await shop.told(EventType.COMPLETED, "job-1", 1)
    shop.clock.forward(LEASE_SECONDS + 1)
    await shop.sent()
    assert shop.types() == ["export.completed"]
    assert [row["error_code"] for row in await shop.attempts()] == ["interrupted", None]


async def test_the_log_says_what_came_of_an_attempt_that_another_success_has_overtaken(shop: Shop) -> None:
    await shop.endpoint()
    await shop.completed()
    (first,) = await begun(shop)
    shop.clock.forward(LEASE_SECONDS + 1)
    assert await claimed(shop) == ["export.completed"]
    taken = FinishedAttempt(first.delivery, AttemptResult(0.1, status=204))
    async with shop.database.transaction() as session:
        await deliveries.record_results(session, [taken], random=lambda: 0.5, now=shop.clock.now)
    assert [row["state"] for row in await shop.deliveries()] == ["delivered"]
    assert [row["error_code"] for row in await shop.attempts()] == [None, "interrupted"]


async def test_progress_that_is_replaced_while_it_is_claimed_waits_for_older_events(shop: Shop) -> None:
    await shop.endpoint(events=["export.started", "export.progress"])
    await shop.submitted("job-1")
    async with shop.database.reading() as session:
        found = await select_due(session, each=8, in_flight_here=(), now=shop.clock.now)
    await shop.told(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await shop.told(EventType.PROGRESS, "job-1", 2)
    assert [row["sequence"] for row in await shop.deliveries()] == [2, 3]
    async with shop.database.transaction() as session:
        ids = list(found[0].due)
        assert await deliveries.claim(session, ids, lease_seconds=LEASE_SECONDS, now=shop.clock.now) == []
    await shop.sent()
    assert shop.types() == ["export.started", "export.progress"]


async def test_a_second_report_before_the_next_phase_is_not_a_second_start(shop: Shop) -> None:
    await shop.endpoint(events=["export.started"])
    await shop.submitted("job-1")
    await shop.told(EventType.STARTED, "job-1", 1, phase=Phase.STARTING)
    await shop.told(EventType.PROGRESS, "job-1", 2, phase=Phase.STARTING, progress=0)
    await shop.sent()
    assert shop.types() == ["export.started"]


async def test_a_recovery_does_not_wait_for_the_next_try_of_what_has_failed(shop: Shop) -> None:
    endpoint = await shop.endpoint()
    shop.answers(500)
    await shop.completed()
    await shop.sent()
    shop.answers(204)
    assert [await recovered(shop, endpoint) for _ in range(2)] == [1, 0]
    await shop.sent()
    assert [row["state"] for row in await shop.deliveries()] == ["delivered"]
