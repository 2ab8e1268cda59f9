"""Two delivery workers on one database, and receivers that can defer responses."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from infra.egress import EgressClient, EgressPolicy
from infra.egress.client import TOTAL_SECONDS
from service.jobs.serializers import JobSerializer
from service.webhooks.listeners.connections import Listeners
from service.webhooks.outbox import Outbox
from service.webhooks.scheduling.claims import WorkerConfig
from service.webhooks.send import Sender
from service.webhooks.worker import DeliveryWorker
from tests.service.webhooks.webhook_harness import LISTENER_SECONDS, WebhookHarness

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
    def order_key(self) -> tuple[str, str]:
        """Receiver and export: events with the same key must arrive in order."""
        return self.url, self.job["job_id"]


@dataclass(eq=False)
class DeferredResponse:
    """A request that waits for its response."""

    order_key: tuple[str, str]
    at: float
    response: "asyncio.Future[httpx.Response]"


@dataclass
class ReplicaPair:
    """The two workers, and the receivers of the harness's endpoints."""

    harness: WebhookHarness
    arrivals: list[Arrival] = field(default_factory=list)
    deferred: list[DeferredResponse] = field(default_factory=list)
    overlapping: list[Arrival] = field(default_factory=list)
    accept_all: bool = False
    workers: list[DeliveryWorker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workers = [self._build_worker(), self._build_worker()]

    async def run_rounds(self, which: Sequence[int]) -> None:
        """Run a round of each of these workers at the same time."""
        await asyncio.gather(*(self.workers[index].run_round() for index in which))
        await self._settle()

    async def kill(self, which: int) -> None:
        """Replace a worker as after a power cut: its unrecorded results are lost."""
        attempts = list(self.workers[which]._attempts.tasks)
        self.workers[which] = self._build_worker()
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)

    async def stop(self, which: int) -> None:
        """Stop a worker in an orderly way and replace it."""
        await self.workers[which].stop()
        self.workers[which] = self._build_worker()

    async def respond(self, which: int, status: int, headers: dict[str, str] | None = None) -> None:
        """Respond to one of the waiting requests."""
        if self.deferred:
            deferred = self.deferred[which % len(self.deferred)]
            deferred.response.set_result(httpx.Response(status, headers=headers))
            await self._settle()

    async def advance(self, seconds: float) -> None:
        """Advance the clock; requests that take too long time out."""
        self.harness.clock.advance(seconds)
        for deferred in self.deferred:
            if self.harness.clock.now - deferred.at >= TOTAL_SECONDS:
                deferred.response.set_exception(httpx.ReadTimeout("late"))
        await self._settle()

    def set_clock_back(self, seconds: float) -> None:
        """Set the clock back without changing how long requests have been waiting."""
        self.harness.clock.advance(-seconds)
        for deferred in self.deferred:
            deferred.at -= seconds

    async def deliver_everything(self) -> None:
        """Accept all requests until nothing is pending."""
        self.accept_all = True
        for deferred in list(self.deferred):
            deferred.response.set_result(httpx.Response(204))
        await self._settle()
        for _ in range(200):
            await self.run_rounds([0])
            await self.run_rounds([1])
            pending = [row for row in await self.harness.load_deliveries() if row["state"] == "pending"]
            if not pending:
                return
            # Some wait for others whose lease is held by a killed worker.
            due = max(float(str(row["next_at"])) for row in pending)
            self.harness.clock.now = max(self.harness.clock.now + LEASE_AND_A_SECOND, due)
        raise AssertionError("There is always something left to send.")

    def _build_worker(self) -> DeliveryWorker:
        egress = EgressClient(EgressPolicy(), transport=httpx.MockTransport(self._handle))
        outbox = Outbox(JobSerializer("https://exports.example"), self.harness.clock)
        return DeliveryWorker(
            self.harness.database,
            Sender(egress, Listeners(), self.harness.database, LISTENER_SECONDS),
            outbox,
            self.harness.disabled.append,
            config=CONFIG,
            clock=self.harness.clock,
        )

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content)
        arrival = Arrival(str(request.url), request.headers["webhook-id"], body["type"], body["data"])
        self.arrivals.append(arrival)
        self.overlapping += [arrival for deferred in self.deferred if deferred.order_key == arrival.order_key]
        if self.accept_all:
            return httpx.Response(204)
        response: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        deferred = DeferredResponse(arrival.order_key, self.harness.clock.now, response)
        self.deferred.append(deferred)
        try:
            return await deferred.response
        finally:
            self.deferred.remove(deferred)

    async def _settle(self) -> None:
        """Wait until all started requests have arrived and all responses have come back."""
        while self._is_moving:  # noqa: ASYNC110 - each turn of the loop moves one of them on
            await asyncio.sleep(0)

    @property
    def _is_moving(self) -> bool:
        in_flight = sum(worker.in_flight for worker in self.workers)
        return in_flight != len(self.deferred) or any(deferred.response.done() for deferred in self.deferred)
