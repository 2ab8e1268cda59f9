"""Two replicas on one database, which may be killed, and consumers that answer when, and as, they are told to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from infra.egress import EgressClient, EgressPolicy
from infra.egress.client import TOTAL_SECONDS
from service.jobs.serializers import JobSerializer
from service.webhooks.outbox import Outbox
from service.webhooks.worker import DeliveryWorker, WorkerConfig
from tests.service.webhooks.webhook_harness import Shop

CONFIG = WorkerConfig(max_in_flight=4, per_endpoint=2)
LEASE_AND_A_SECOND = 61.0


@dataclass(frozen=True)
class Arrival:
    """One request, as its receiver saw it."""

    url: str
    message_id: str
    type: str
    job: dict[str, Any]

    @property
    def line(self) -> tuple[str, str]:
        """Whose states come one after the other: those of an export, at a receiver."""
        return self.url, self.job["job_id"]


@dataclass(eq=False)
class Held:
    """A request that waits for its answer."""

    line: tuple[str, str]
    at: float
    answer: "asyncio.Future[httpx.Response]"


@dataclass
class Replicas:
    """The consumers of a shop, and the two that deliver to them."""

    shop: Shop
    arrivals: list[Arrival] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    side_by_side: list[Arrival] = field(default_factory=list)
    polite: bool = False
    running: list[DeliveryWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.running = [self._deliverer(), self._deliverer()]

    async def rounds(self, which: Sequence[int]) -> None:
        """A round of each, all at once."""
        await asyncio.gather(*(self.running[one].run_round() for one in which))
        await self._arrived()

    async def kill(self, which: int) -> None:
        """It ends as by a power cut: what it was about to write down is lost."""
        attempts = list(self.running[which]._in_flight)
        self.running[which] = self._deliverer()
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)

    async def stop(self, which: int) -> None:
        """It ends as it should."""
        await self.running[which].stop()
        self.running[which] = self._deliverer()

    async def answer(self, which: int, status: int, headers: dict[str, str] | None = None) -> None:
        """One of the requests that wait has its answer."""
        if self.held:
            held = self.held[which % len(self.held)]
            held.answer.set_result(httpx.Response(status, headers=headers))
            await self._arrived()

    async def forward(self, seconds: float) -> None:
        """Time goes by, and no attempt lasts for longer than any may."""
        self.shop.clock.forward(seconds)
        for held in self.held:
            if self.shop.clock.now - held.at >= TOTAL_SECONDS:
                held.answer.set_exception(httpx.ReadTimeout("late"))
        await self._arrived()

    def set_clock_back(self, seconds: float) -> None:
        """Set the clock back; what is in flight has lasted as long as it has."""
        self.shop.clock.forward(-seconds)
        for held in self.held:
            held.at -= seconds

    async def served(self) -> None:
        """Everybody answers as they should, until there is nothing left to send."""
        self.polite = True
        for held in list(self.held):
            held.answer.set_result(httpx.Response(204))
        await self._arrived()
        for _ in range(200):
            await self.rounds([0])
            await self.rounds([1])
            pending = [row for row in await self.shop.deliveries() if row["state"] == "pending"]
            if not pending:
                return
            # Some of them wait for others, whose lease was taken by one who was killed.
            due = max(float(str(row["next_at"])) for row in pending)
            self.shop.clock.now = max(self.shop.clock.now + LEASE_AND_A_SECOND, due)
        raise AssertionError("There is always something left to send.")

    def _deliverer(self) -> DeliveryWorker:
        egress = EgressClient(EgressPolicy(), transport=httpx.MockTransport(self._take))
        outbox = Outbox(JobSerializer("https://exports.example"), self.shop.clock)
        return DeliveryWorker(
            self.shop.database,
            egress,
            outbox,
            self.shop.disabled.append,
            config=CONFIG,
            clock=self.shop.clock,
        )

    async def _take(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content)
        arrival = Arrival(str(request.url), request.headers["webhook-id"], body["type"], body["data"])
        self.arrivals.append(arrival)
        self.side_by_side += [arrival for held in self.held if held.line == arrival.line]
        if self.polite:
            return httpx.Response(204)
        held = Held(arrival.line, self.shop.clock.now, asyncio.get_running_loop().create_future())
        self.held.append(held)
        try:
            return await held.answer
        finally:
            self.held.remove(held)

    async def _arrived(self) -> None:
        """Whatever was begun has reached its receiver, and whatever was answered has come back."""
        while self._moving:  # noqa: ASYNC110 - each turn of the loop brings one of them further
            await asyncio.sleep(0)

    @property
    def _moving(self) -> bool:
        under_way = sum(len(one._in_flight) for one in self.running)
        return under_way != len(self.held) or any(held.answer.done() for held in self.held)
