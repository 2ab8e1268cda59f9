"""The delivery metrics that an operator sees."""

from service.webhooks.due_query import count_pending
from service.webhooks.send import DELAY_BUCKETS
from tests.service.webhooks.webhook_harness import WebhookHarness


async def test_the_delay_of_a_first_attempt_counts_from_the_commit(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    await harness.complete_export("job-1")
    harness.clock.advance(0.3)
    await harness.deliver_all()
    metrics = harness.worker.metrics
    assert (metrics.delivered, metrics.failed) == (1, 0)
    assert dict(zip(DELAY_BUCKETS, metrics.delays, strict=True))[0.5] == 1
    assert round(metrics.delays_seconds, 3) == 0.3


async def test_a_retried_delivery_counts_as_failed_and_delivered_but_not_as_a_delay(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await harness.complete_export("job-1")
    await harness.deliver_all()
    async with harness.database.reading() as session:
        assert await count_pending(session) == 1
    harness.respond_with(204)
    harness.clock.advance(3_600)
    await harness.deliver_all()
    metrics = harness.worker.metrics
    assert (metrics.delivered, metrics.failed, sum(metrics.delays)) == (1, 1, 0)
    async with harness.database.reading() as session:
        assert await count_pending(session) == 0
