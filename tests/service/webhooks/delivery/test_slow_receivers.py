"""How many deliveries at a time a slow receiver gets, on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from callbacks.envelope import EventType, Phase
from infra.database.base import Database
from infra.egress import EgressClient
from service.webhooks.scheduling.claims import WorkerConfig
from tests.bench.webhooks.hostile_receivers import hang, receive_with, request
from tests.infra.egress.hostile_receivers import LOOPBACK
from tests.service.webhooks.webhook_harness import WebhookHarness, open_harness

PATIENCE_SECONDS = 60
NONE_IS_FAST = WorkerConfig(healthy_seconds=0)


@dataclass
class GatedReceiver:
    """A receiver that responds when the test lets it."""

    statuses: Iterator[int] = field(default_factory=lambda: iter(()))
    waiting: "list[asyncio.Future[int]]" = field(default_factory=list)
    received: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def conduct(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        response = asyncio.get_running_loop().create_future()
        self.waiting.append(response)
        self.received += 1
        self._arrived.set()
        writer.write(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % await response)

    async def respond_all(self, count: int) -> None:
        """Wait until `count` requests are waiting, and respond to them."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.waiting) < count:
                self._arrived.clear()
                await self._arrived.wait()
        for response in self.waiting:
            response.set_result(next(self.statuses, 204))
        self.waiting.clear()


@asynccontextmanager
async def open_slow_harness(database: Database) -> AsyncIterator[WebhookHarness]:
    egress = EgressClient(LOOPBACK, total_seconds=PATIENCE_SECONDS)
    async with open_harness(database, config=NONE_IS_FAST, egress=egress) as harness:
        yield harness
    await egress.close()


async def deliver_in_batches(harness: WebhookHarness, receiver: GatedReceiver) -> list[int]:
    """Deliver all that is due; return how many were in flight at each response."""
    hanging = set(harness.worker._attempts.tasks)
    sizes: list[int] = []
    while True:
        await harness.worker.run_round()
        attempts = set(harness.worker._attempts.tasks) - hanging
        if not attempts:
            return sizes
        sizes.append(len(attempts))
        await receiver.respond_all(len(attempts))
        await asyncio.wait(attempts)


async def test_a_receiver_that_answers_slowly_is_sent_more_and_more_at_a_time(any_database: Database) -> None:
    receiver = GatedReceiver()
    async with open_slow_harness(any_database) as harness, receive_with(receiver.conduct) as port:
        await harness.add_backlog(await harness.create_endpoint(f"http://127.0.0.1:{port}/"), 30)
        assert await deliver_in_batches(harness, receiver) == [1, 2, 4, 8, 8, 7]
        assert {row["state"] for row in await harness.load_deliveries()} == {"delivered"}
    assert receiver.received == 30


async def test_with_a_failure_it_is_sent_one_at_a_time_again(any_database: Database) -> None:
    receiver = GatedReceiver(statuses=iter([204] * 5 + [500] + [204] * 30))
    async with open_slow_harness(any_database) as harness, receive_with(receiver.conduct) as port:
        await harness.add_backlog(await harness.create_endpoint(f"http://127.0.0.1:{port}/"), 20)
        assert (await deliver_in_batches(harness, receiver))[:5] == [1, 2, 4, 1, 1]
        states = [row["state"] for row in await harness.load_deliveries()]
    assert (states.count("delivered"), states.count("pending")) == (19, 1)


async def test_receivers_that_hang_take_no_slots_from_a_slow_one(any_database: Database) -> None:
    receiver = GatedReceiver()
    async with (
        open_slow_harness(any_database) as harness,
        receive_with(hang) as black_hole,
        receive_with(receiver.conduct) as port,
    ):
        for number in range(40):
            await harness.add_backlog(
                await harness.create_endpoint(f"http://127.0.0.1:{black_hole}/{number}"), 9
            )
        for _ in range(3):
            await harness.worker.run_round()
        assert harness.worker.in_flight == 40
        await harness.add_backlog(await harness.create_endpoint(f"http://127.0.0.1:{port}/"), 12)
        assert await deliver_in_batches(harness, receiver) == [1, 2, 4, 5]
        assert harness.worker.in_flight == 40


async def test_the_states_of_one_export_go_to_a_slow_receiver_one_after_the_other(
    any_database: Database,
) -> None:
    receiver = GatedReceiver()
    async with open_slow_harness(any_database) as harness, receive_with(receiver.conduct) as port:
        endpoint = await harness.create_endpoint(f"http://127.0.0.1:{port}/")
        await harness.add_backlog(endpoint, 15)
        assert await deliver_in_batches(harness, receiver) == [1, 2, 4, 8]
        await harness.submit_export("one export")
        await harness.report(EventType.STARTED, "one export", 1, phase=Phase.STARTING)
        await harness.report(EventType.COMPLETED, "one export", 2)
        assert await deliver_in_batches(harness, receiver) == [1, 1]
