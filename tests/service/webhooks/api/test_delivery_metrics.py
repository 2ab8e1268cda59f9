"""The delivery metrics that an operator sees."""

from service.webhooks.scheduling.due_query import read_backlog
from tests.service.webhooks.webhook_harness import WebhookHarness


async def test_the_delay_of_a_first_attempt_counts_from_the_commit(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    await harness.complete_export("job-1")
    harness.clock.advance(0.3)
    await harness.deliver_all()
    assert count_attempts(harness) == {"delivered": 1}
    delay = harness.worker.metrics.delay
    assert (delay.count, round(delay.sum, 3)) == (1, 0.3)


async def test_a_retried_delivery_counts_as_failed_and_delivered_but_not_as_a_delay(
    harness: WebhookHarness,
) -> None:
    await harness.create_endpoint()
    harness.respond_with(500)
    await harness.complete_export("job-1")
    await harness.deliver_all()
    assert await read_states(harness) == (1, 0)
    harness.respond_with(204)
    harness.clock.advance(3_600)
    assert await read_states(harness) == (1, 1)
    await harness.deliver_all()
    assert count_attempts(harness) == {"delivered": 1, "status": 1}
    assert harness.worker.metrics.delay.count == 0
    assert await read_states(harness) == (0, 0)


def count_attempts(harness: WebhookHarness) -> dict[str, float]:
    """Return the number of recorded attempts by result."""
    (metric,) = harness.worker.metrics.attempts.collect()
    return {
        sample.labels["result"]: sample.value for sample in metric.samples if sample.name.endswith("_total")
    }


async def read_states(harness: WebhookHarness) -> tuple[int, int]:
    """Return how many deliveries are pending, and how many of these are due."""
    async with harness.database.reading() as session:
        backlog = await read_backlog(session, harness.clock())
    assert (backlog.oldest_due_at is not None) == (backlog.due > 0)
    return backlog.pending, backlog.due
