"""A receiver that is down has one line in the log when it begins to fail, and one when it is back."""

import logging

import pytest

from service.webhooks.scheduling.endpoint_health import FAILURES_BEFORE_BACKOFF
from tests.service.webhooks.webhook_harness import WebhookHarness

RETRY_SECONDS = 86_400.0


async def fail_times(harness: WebhookHarness, count: int) -> None:
    """Let the next `count` attempts fail."""
    for _ in range(count):
        await harness.deliver_all()
        harness.clock.advance(RETRY_SECONDS)


async def test_an_endpoint_that_fails_is_logged_once_until_it_is_back(
    harness: WebhookHarness, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = await harness.create_endpoint(events=["export.completed"])
    harness.respond_with(503)
    await harness.complete_export()
    with caplog.at_level(logging.INFO, "framehook.webhooks"):
        await fail_times(harness, FAILURES_BEFORE_BACKOFF - 1)
        assert caplog.records == []
        await fail_times(harness, 2)
        harness.respond_with(204)
        await harness.deliver_all()
    lines = [record.__dict__ for record in caplog.records]
    assert [(line["event"], line["levelname"], line["user"]) for line in lines] == [
        ("webhook.failing", "WARNING", "ada"),
        ("webhook.recovered", "INFO", "ada"),
    ]
    assert [line["fields"] for line in lines] == [
        {"endpoint": endpoint.endpoint_id, "reason": "status 503"},
        {"endpoint": endpoint.endpoint_id, "failures": FAILURES_BEFORE_BACKOFF + 1},
    ]
