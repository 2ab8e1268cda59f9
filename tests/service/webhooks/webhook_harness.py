"""Outbox and delivery worker on a database, with a manual clock and fake receivers."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType
from infra.database.base import Database
from infra.egress import EgressClient, EgressPolicy
from service.ingest.batch_writer import BatchWriter
from service.jobs import models, transitions
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer
from service.webhooks import endpoints
from service.webhooks.listeners.connections import Listeners
from service.webhooks.models import ATTEMPTS, DELIVERIES, ENDPOINTS, PACING, Endpoint
from service.webhooks.outbox import INSERT_DELIVERY, Outbox, build_delivery
from service.webhooks.scheduling.claims import WorkerConfig
from service.webhooks.scheduling.due_query import find_ready, select_due
from service.webhooks.send import Sender
from service.webhooks.worker import DeliveryWorker
from tests.support.job_factory import (
    FakeChanges,
    Row,
    build_change,
    build_ended_job,
    submission_for,
    write_changes,
)

URL = "https://consumer.example/hook"
LISTENER_SECONDS = 20.0
BEGIN = 1_800_000_000.0

Handler = Callable[[httpx.Request], httpx.Response]


@dataclass
class Clock:
    """A wall clock that moves only when it is advanced."""

    now: float = BEGIN

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class ScriptedReceivers:
    """The receivers of all URLs: they respond with 204 unless a handler says otherwise."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    received: list[httpx.Request] = field(default_factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.received.append(request)
        handler = self.handlers.get(str(request.url))
        return handler(request) if handler else httpx.Response(204)


@dataclass
class WebhookHarness:
    """Drives outbox and delivery worker, and reads what they did."""

    database: Database
    clock: Clock
    writer: BatchWriter
    worker: DeliveryWorker
    receivers: ScriptedReceivers
    disabled: list[Endpoint]
    sender: Sender

    @property
    def received(self) -> list[httpx.Request]:
        return self.receivers.received

    def respond_with(self, status: int, url: str = URL, **options: Any) -> None:
        """Let the receiver respond with this status from now on."""
        self.receivers.handlers[url] = lambda _: httpx.Response(status, **options)

    async def create_endpoint(self, url: str = URL, *, user: str = "ada", **options: Any) -> Endpoint:
        async with self.database.transaction() as session:
            return await endpoints.create(
                session, endpoints.new_values(user, url, **{"now": self.clock.now} | options)
            )

    async def submit_export(self, job_id: str, user: str = "ada") -> Job:
        async with self.database.transaction() as session:
            return await transitions.submit(
                session, submission_for(job_id, user), runner="local", attempt_limit=3, now=self.clock.now
            )

    async def report(
        self, kind: EventType, job_id: str, step: int, *, attempt: int = 1, **fields: Any
    ) -> None:
        """Apply a callback."""
        await write_changes(
            self.writer, build_change(kind, job_id, attempt, step, now=self.clock.now, **fields)
        )

    async def retry_export(self, job_id: str, user: str = "ada") -> None:
        """Start a new attempt of a failed export."""
        async with self.database.transaction() as session:
            await transitions.retry(session, user, job_id, attempts=3, now=self.clock.now)

    async def add_backlog(self, endpoint: Endpoint, count: int) -> None:
        """Insert due deliveries, each of another export."""
        rows = [
            build_delivery(build_ended_job(f"job-{number}"), endpoint.endpoint_id, "{}", self.clock.now)
            for number in range(count)
        ]
        async with self.database.transaction() as session:
            await session.execute(text(INSERT_DELIVERY), rows)

    async def list_due(self, session: AsyncSession, in_flight_here: Sequence[str] = ()) -> list[str]:
        """Return the deliveries that a worker with these in flight could claim."""
        endpoint_ids, now = await find_ready(session, now=self.clock.now), self.clock.now
        backlogs = await select_due(
            session, endpoint_ids=endpoint_ids, each=8, in_flight_here=in_flight_here, now=now
        )
        return [delivery_id for backlog in backlogs for delivery_id in backlog.due]

    async def deliver_all(self) -> None:
        """Run the worker until nothing is due any more."""
        before = -1
        while before != len(self.received):
            before = len(self.received)
            while await self.worker.run_round():
                pass
            await self.worker.wait_idle()
            await self.worker.run_round()
            await self.worker.wait_idle()

    async def complete_export(self, job_id: str = "job-1") -> None:
        """Submit an export and report its completion."""
        await self.submit_export(job_id)
        await self.report_completed(job_id)

    async def report_completed(self, job_id: str) -> None:
        await self.report(EventType.COMPLETED, job_id, 1)

    async def load_deliveries(self) -> list[Row]:
        return await self._load_rows(select(DELIVERIES).order_by(DELIVERIES.c.job_id, DELIVERIES.c.sequence))

    async def load_attempts(self) -> list[Row]:
        return await self._load_rows(select(ATTEMPTS).order_by(ATTEMPTS.c.at, ATTEMPTS.c.attempt))

    async def load_endpoints(self) -> list[Row]:
        return await self._load_rows(select(ENDPOINTS).order_by(ENDPOINTS.c.endpoint_id))

    async def _load_rows(self, query: Any) -> list[Row]:
        async with self.database.reading() as session:
            return [dict(row) for row in (await session.execute(query)).mappings()]

    def list_types(self) -> list[str]:
        """Return the types of the received events, in order."""
        return [msgspec.json.decode(request.content)["type"] for request in self.received]

    def list_sequences(self) -> list[int]:
        """Return the sequence numbers of the received events, in order."""
        return [msgspec.json.decode(request.content)["data"]["sequence"] for request in self.received]


@asynccontextmanager
async def open_harness(
    database: Database,
    *,
    config: WorkerConfig | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    egress: EgressClient | None = None,
    listener_seconds: float = LISTENER_SECONDS,
    clock: Clock | None = None,
) -> AsyncIterator[WebhookHarness]:
    """Open a harness on an emptied database; `transport` or `egress` replaces its receivers."""
    async with database.transaction() as session:
        for table in (PACING, ATTEMPTS, DELIVERIES, ENDPOINTS, models.EVENTS, models.JOBS):
            await session.execute(delete(table))
    clock = clock or Clock()
    outbox = Outbox(JobSerializer("https://exports.example"), clock)
    database.before_commit = outbox.write_in_session
    receivers = ScriptedReceivers()
    egress = egress or EgressClient(
        EgressPolicy(), transport=transport or httpx.MockTransport(receivers.handle)
    )
    disabled: list[Endpoint] = []
    sender = Sender(egress, Listeners(), database, listener_seconds)
    worker = DeliveryWorker(database, sender, outbox, disabled.append, config=config, clock=clock)
    writer = BatchWriter(database, FakeChanges(wake_deliveries=worker.on_commit), outbox)
    yield WebhookHarness(database, clock, writer, worker, receivers, disabled, sender)
    await worker.stop()
