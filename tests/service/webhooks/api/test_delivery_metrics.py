"""What an operator is told of deliveries."""

from service.webhooks.due_query import count_pending
from service.webhooks.send import DELAY_BUCKETS
from tests.service.webhooks.webhook_harness import Shop


async def test_the_delay_counts_from_the_commit_of_what_was_taken_at_once(shop: Shop) -> None:
    await shop.endpoint()
    await shop.completed("job-1")
    shop.clock.forward(0.3)
    await shop.sent()
    sent = shop.deliverer.metrics
    assert (sent.delivered, sent.failed) == (1, 0)
    assert dict(zip(DELAY_BUCKETS, sent.delays, strict=True))[0.5] == 1
    assert round(sent.delays_seconds, 3) == 0.3


async def test_what_failed_first_counts_as_failed_then_as_delivered_and_not_as_a_delay(shop: Shop) -> None:
    await shop.endpoint()
    shop.answers(500)
    await shop.completed("job-1")
    await shop.sent()
    async with shop.database.reading() as session:
        assert await count_pending(session) == 1
    shop.answers(204)
    shop.clock.forward(3_600)
    await shop.sent()
    sent = shop.deliverer.metrics
    assert (sent.delivered, sent.failed, sum(sent.delays)) == (1, 1, 0)
    async with shop.database.reading() as session:
        assert await count_pending(session) == 0
