"""The deliverer is woken by what is committed, and makes up at its next start for what it was cut off from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from callbacks.envelope import EventType
from infra.database.base import Database
from service.jobs import transitions
from service.webhooks.worker import WorkerConfig
from tests.service.webhooks import webhook_harness as shops
from tests.service.webhooks.webhook_harness import URL, Shop

UNASKED = WorkerConfig(idle_seconds=3_600)
"""It never looks by itself, within any test's patience."""
PATIENCE_SECONDS = 20


@pytest.fixture
async def shop(either: Database) -> AsyncIterator[Shop]:
    async with shops.opened(either, config=UNASKED) as found:
        running = asyncio.create_task(found.deliverer.run())
        yield found
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def expected(shop: Shop) -> asyncio.Event:
    """Set when the endpoint is sent something."""
    arrived = asyncio.Event()

    def answer(_: httpx.Request) -> httpx.Response:
        arrived.set()
        return httpx.Response(204)

    shop.street.answers[URL] = answer
    return arrived


async def test_a_callback_that_was_committed_is_told_at_once(shop: Shop) -> None:
    await shop.endpoint()
    await shop.submitted("job-1")
    arrived = expected(shop)
    await shop.told(EventType.COMPLETED, "job-1", 1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await arrived.wait()


async def test_a_round_that_comes_before_the_commit_takes_nothing_away(shop: Shop) -> None:
    await shop.endpoint()
    await shop.submitted("job-1")
    arrived = expected(shop)
    async with shop.database.transaction() as session:
        cancelled = await transitions.cancel(session, "ada", "job-1", now=shop.clock.now)
        await shop.database.before_commit(session)
        shop.deliverer.on_commit(("another",))
        shop.deliverer.wake()
        for _ in range(20):  # PostgreSQL's round may look now; SQLite's waits for this transaction
            await asyncio.sleep(0)
    assert cancelled is not None
    shop.deliverer.on_commit((cancelled.job_id,))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await arrived.wait()


async def test_what_comes_due_while_every_place_is_taken_is_sent_when_one_is_free(
    either: Database,
) -> None:
    async with shops.opened(either, config=WorkerConfig(max_in_flight=1, idle_seconds=3_600)) as shop:
        await shop.endpoint()
        for number in range(3):
            await shop.completed(f"job-{number}")
        running = asyncio.create_task(shop.deliverer.run())
        all_arrived = asyncio.Event()

        def answer(_: httpx.Request) -> httpx.Response:
            if len(shop.received) == 3:
                all_arrived.set()
            return httpx.Response(204)

        shop.street.answers[URL] = answer
        async with asyncio.timeout(PATIENCE_SECONDS):
            await all_arrived.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
