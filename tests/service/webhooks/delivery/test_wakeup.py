"""Commits wake the delivery worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from callbacks.envelope import EventType
from infra.database.base import Database
from service.jobs import transitions
from service.webhooks.scheduling.claims import WorkerConfig
from tests.service.webhooks.webhook_harness import URL, WebhookHarness, open_harness

NO_POLLING = WorkerConfig(idle_seconds=3_600)
"""The worker does not poll within the time of a test."""
PATIENCE_SECONDS = 20


@pytest.fixture
async def harness(any_database: Database) -> AsyncIterator[WebhookHarness]:
    async with open_harness(any_database, config=NO_POLLING) as harness:
        running = asyncio.create_task(harness.worker.run())
        yield harness
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def expect_request(harness: WebhookHarness) -> asyncio.Event:
    """Return an event that is set when the endpoint receives a request."""
    arrived = asyncio.Event()

    def handle(_: httpx.Request) -> httpx.Response:
        arrived.set()
        return httpx.Response(204)

    harness.receivers.handlers[URL] = handle
    return arrived


async def test_a_committed_callback_is_delivered_at_once(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    await harness.submit_export("job-1")
    arrived = expect_request(harness)
    await harness.report(EventType.COMPLETED, "job-1", 1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await arrived.wait()


async def test_a_round_before_the_commit_does_not_lose_the_wakeup(harness: WebhookHarness) -> None:
    await harness.create_endpoint()
    await harness.submit_export("job-1")
    arrived = expect_request(harness)
    async with harness.database.transaction() as session:
        cancelled = await transitions.cancel(session, "ada", "job-1", now=harness.clock.now)
        await harness.database.before_commit(session)
        harness.worker.on_commit(("another",))
        harness.worker.wake()
        for _ in range(20):  # PostgreSQL's round may look now; SQLite's waits for this transaction
            await asyncio.sleep(0)
    assert cancelled is not None
    harness.worker.on_commit((cancelled.job_id,))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await arrived.wait()


async def test_a_due_delivery_waits_for_a_free_slot(
    any_database: Database,
) -> None:
    async with open_harness(
        any_database, config=WorkerConfig(max_in_flight=1, idle_seconds=3_600)
    ) as harness:
        await harness.create_endpoint()
        for number in range(3):
            await harness.complete_export(f"job-{number}")
        running = asyncio.create_task(harness.worker.run())
        all_arrived = asyncio.Event()

        def handle(_: httpx.Request) -> httpx.Response:
            if len(harness.received) == 3:
                all_arrived.set()
            return httpx.Response(204)

        harness.receivers.handlers[URL] = handle
        async with asyncio.timeout(PATIENCE_SECONDS):
            await all_arrived.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
