"""The outbox and its delivery without the rest of the service: a database, a clock, and receivers that do as told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from sqlalchemy import delete, select, text

from callbacks.envelope import EventType, Phase
from infra.database.base import Database
from infra.egress import EgressClient, EgressPolicy
from service.ingest.batch_writer import BatchWriter
from service.jobs import transitions
from service.jobs.models import Job, Status
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoints
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, Endpoint
from service.webhooks.outbox import INSERT_DELIVERY, Outbox, build_delivery
from service.webhooks.worker import DeliveryWorker, WorkerConfig
from tests.support.job_factory import FakeChanges, Row, build_change, submission_for, write_changes

URL = "https://consumer.example/hook"
BEGIN = 1_800_000_000.0

Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class Clock:
    """The time of day, which stands until it is moved."""

    now: float = BEGIN

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Street:
    """Every receiver: takes what comes with 204, unless told otherwise."""

    answers: dict[str, Answer] = field(default_factory=dict)
    received: list[httpx.Request] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.received.append(request)
        answer = self.answers.get(str(request.url))
        return answer(request) if answer else httpx.Response(204)


@dataclass
class Shop:
    """What a test may do to the outbox, and see of it."""

    database: Database
    clock: Clock
    writer: BatchWriter
    deliverer: DeliveryWorker
    street: Street
    disabled: list[Endpoint]

    @property
    def received(self) -> list[httpx.Request]:
        return self.street.received

    def answers(self, status: int, url: str = URL, **options: Any) -> None:
        """What the endpoint answers from here on."""
        self.street.answers[url] = lambda _: httpx.Response(status, **options)

    async def endpoint(self, url: str = URL, *, user: str = "ada", **options: Any) -> Endpoint:
        async with self.database.transaction() as session:
            return await endpoints.create(session, user, url, **{"now": self.clock.now} | options)

    async def submitted(self, job_id: str, user: str = "ada") -> Job:
        async with self.database.transaction() as session:
            return await transitions.submit(
                session, submission_for(job_id, user), runner="local", attempt_limit=3, now=self.clock.now
            )

    async def told(self, kind: EventType, job_id: str, step: int, *, attempt: int = 1, **report: Any) -> None:
        """A callback, taken in."""
        await write_changes(
            self.writer, build_change(kind, job_id, attempt, step, now=self.clock.now, **report)
        )

    async def retried(self, job_id: str, user: str = "ada") -> None:
        """A new attempt of an export that has failed."""
        async with self.database.transaction() as session:
            await transitions.retry(session, user, job_id, attempts=3, now=self.clock.now)

    async def backlog(self, endpoint: Endpoint, count: int) -> None:
        """Deliveries that are due, each of another export."""
        rows = [
            build_delivery(_ended_job(f"job-{number}"), endpoint.endpoint_id, "{}", self.clock.now)
            for number in range(count)
        ]
        async with self.database.transaction() as session:
            await session.execute(text(INSERT_DELIVERY), rows)

    async def sent(self) -> None:
        """Send what is due, and all that becomes due by that, until nothing is."""
        before = -1
        while before != len(self.received):
            before = len(self.received)
            while await self.deliverer.run_round():
                pass
            await self.deliverer.wait_idle()
            await self.deliverer.run_round()
            await self.deliverer.wait_idle()

    async def completed(self, job_id: str = "job-1") -> None:
        """An export, from its submission to its end."""
        await self.submitted(job_id)
        await self.told(EventType.COMPLETED, job_id, 1)

    async def told_the_end(self, job_id: str) -> None:
        await self.told(EventType.COMPLETED, job_id, 1)

    async def deliveries(self) -> list[Row]:
        return await self._rows(select(DELIVERIES).order_by(DELIVERIES.c.job_id, DELIVERIES.c.sequence))

    async def attempts(self) -> list[Row]:
        return await self._rows(select(ATTEMPTS).order_by(ATTEMPTS.c.at, ATTEMPTS.c.attempt))

    async def endpoints(self) -> list[Row]:
        return await self._rows(select(ENDPOINTS).order_by(ENDPOINTS.c.endpoint_id))

    async def _rows(self, query: Any) -> list[Row]:
        async with self.database.reading() as session:
            return [dict(row) for row in (await session.execute(query)).mappings()]

    def types(self) -> list[str]:
        """The types of what was received, in order."""
        return [msgspec.json.decode(request.content)["type"] for request in self.received]

    def sequences(self) -> list[int]:
        return [msgspec.json.decode(request.content)["data"]["sequence"] for request in self.received]


def _ended_job(job_id: str) -> Job:
    fields: dict[str, Any] = dict.fromkeys(Job.__struct_fields__)
    known = {
        "job_id": job_id,
        "user_id": "ada",
        "status": Status.COMPLETE,
        "phase": Phase.DONE,
        "sequence": 2,
    }
    return Job(**fields | known)


@asynccontextmanager
async def opened(
    database: Database,
    *,
    config: WorkerConfig | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    egress: EgressClient | None = None,
) -> AsyncIterator[Shop]:
    """A shop on a database that other tests may have used; `transport` or `egress` leads elsewhere than its
    street."""
    async with database.transaction() as session:
        for table in (ATTEMPTS, DELIVERIES, ENDPOINTS, transitions.EVENTS, transitions.JOBS):
            await session.execute(delete(table))
    clock = Clock()
    outbox = Outbox(JobSerializer("https://exports.example"), clock)
    database.before_commit = outbox.write_in_session
    street = Street()
    egress = egress or EgressClient(EgressPolicy(), transport=transport or httpx.MockTransport(street.answer))
    disabled: list[Endpoint] = []
    deliverer = DeliveryWorker(database, egress, outbox, disabled.append, config=config, clock=clock)
    writer = BatchWriter(database, FakeChanges(wake_deliveries=deliverer.on_commit), outbox)
    yield Shop(database, clock, writer, deliverer, street, disabled)
    await deliverer.stop()
