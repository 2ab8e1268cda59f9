"""A receiver on a real socket that answers when the test lets it: slow, but good, and how many it is sent at a
time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from callbacks.envelope import EventType, Phase
from infra.database.base import Database
from infra.egress import EgressClient
from service.webhooks.worker import WorkerConfig
from tests.bench.webhooks.hostile_receivers import hang, receiving, request
from tests.infra.egress.hostile_receivers import LOOPBACK
from tests.service.webhooks import webhook_harness as shops
from tests.service.webhooks.webhook_harness import Shop

PATIENCE_SECONDS = 60
NOBODY_IS_FAST = WorkerConfig(healthy_seconds=0)


@dataclass
class GatedReceiver:
    """Answers everything that it holds when it is told to."""

    statuses: Iterator[int] = field(default_factory=lambda: iter(()))
    held: "list[asyncio.Future[int]]" = field(default_factory=list)
    received: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def conduct(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        answer = asyncio.get_running_loop().create_future()
        self.held.append(answer)
        self.received += 1
        self._arrived.set()
        writer.write(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % await answer)

    async def answer_all(self, count: int) -> None:
        """Wait until it holds so many requests, and answer them."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.held) < count:
                self._arrived.clear()
                await self._arrived.wait()
        for answer in self.held:
            answer.set_result(next(self.statuses, 204))
        self.held.clear()


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Shop]:
    egress = EgressClient(LOOPBACK, total_seconds=PATIENCE_SECONDS)
    async with shops.opened(database, config=NOBODY_IS_FAST, egress=egress) as shop:
        yield shop
    await egress.close()


async def in_batches(shop: Shop, receiver: GatedReceiver) -> list[int]:
    """Deliver all that is due; return how many were in flight at the receiver each time that it answered."""
    hanging = set(shop.deliverer._in_flight)
    sizes: list[int] = []
    while True:
        await shop.deliverer.run_round()
        attempts = set(shop.deliverer._in_flight) - hanging
        if not attempts:
            return sizes
        sizes.append(len(attempts))
        await receiver.answer_all(len(attempts))
        await asyncio.wait(attempts)


async def test_a_receiver_that_answers_slowly_is_sent_more_and_more_at_a_time(either: Database) -> None:
    receiver = GatedReceiver()
    async with opened(either) as shop, receiving(receiver.conduct) as port:
        await shop.backlog(await shop.endpoint(f"http://127.0.0.1:{port}/"), 30)
        assert await in_batches(shop, receiver) == [1, 2, 4, 8, 8, 7]
        assert {row["state"] for row in await shop.deliveries()} == {"delivered"}
    assert receiver.received == 30


async def test_with_a_failure_it_is_sent_one_at_a_time_again(either: Database) -> None:
    receiver = GatedReceiver(statuses=iter([204] * 5 + [500] + [204] * 30))
    async with opened(either) as shop, receiving(receiver.conduct) as port:
        await shop.backlog(await shop.endpoint(f"http://127.0.0.1:{port}/"), 20)
        assert (await in_batches(shop, receiver))[:5] == [1, 2, 4, 1, 1]
        states = [row["state"] for row in await shop.deliveries()]
    assert (states.count("delivered"), states.count("pending")) == (19, 1)


async def test_receivers_that_hang_take_nothing_from_one_that_is_slow(either: Database) -> None:
    receiver = GatedReceiver()
    async with opened(either) as shop, receiving(hang) as black_hole, receiving(receiver.conduct) as port:
        for number in range(40):
            await shop.backlog(await shop.endpoint(f"http://127.0.0.1:{black_hole}/{number}"), 9)
        for _ in range(3):
            await shop.deliverer.run_round()
        assert shop.deliverer.in_flight == 40
        await shop.backlog(await shop.endpoint(f"http://127.0.0.1:{port}/"), 12)
        assert await in_batches(shop, receiver) == [1, 2, 4, 5]
        assert shop.deliverer.in_flight == 40


async def test_the_states_of_one_export_go_to_a_slow_receiver_one_after_the_other(
    either: Database,
) -> None:
    receiver = GatedReceiver()
    async with opened(either) as shop, receiving(receiver.conduct) as port:
        endpoint = await shop.endpoint(f"http://127.0.0.1:{port}/")
        await shop.backlog(endpoint, 15)
        assert await in_batches(shop, receiver) == [1, 2, 4, 8]
        await shop.submitted("one export")
        await shop.told(EventType.STARTED, "one export", 1, phase=Phase.STARTING)
        await shop.told(EventType.COMPLETED, "one export", 2)
        assert await in_batches(shop, receiver) == [1, 1]
