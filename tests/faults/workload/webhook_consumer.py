"""A consumer that receives every event by webhook and recovers what it has missed."""

import asyncio
import random
import time
from collections.abc import Sequence

from tests.faults.checkers.database_reader import Row
from tests.faults.checkers.delivery_checks import (
    LoggedAttempt,
    OutboxRow,
    check_delivery_log,
    find_late_retries,
    find_lost_events,
)
from tests.faults.checkers.inbox_checker import ReceivedWebhook
from tests.faults.checkers.stream_checker import StreamChecker
from tests.faults.checkers.violations import History
from tests.faults.cluster.cluster import Cluster
from tests.faults.workload.user import User
from tests.faults.workload.webhook_receiver import ReceiverBehavior

EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"]
ASK_AGAIN_SECONDS = 1.0


class Consumer:
    """The endpoint of one user."""

    def __init__(self, cluster: Cluster, user_id: str, user: User, history: History) -> None:
        self._cluster = cluster
        self._user_id = user_id
        self._user = user
        self._history = history
        self._checker = StreamChecker("webhooks", history, cluster.database, cluster.objects)
        self._since = "2000-01-01T00:00:00Z"  # before anything that the service's clock may show
        self._checks: set[asyncio.Task[None]] = set()
        self._recovered_at = 0.0
        self._outbox_checked = False

    async def register(self, behavior: ReceiverBehavior, chance: random.Random) -> None:
        """Register the endpoint with the service."""
        receiver = self._cluster.receiver
        endpoint = await self._user.create_endpoint(receiver.url(self._user_id), EVENTS)
        self._name = str(endpoint["url"]).rpartition("/")[2]
        self._inbox = receiver.add_endpoint(self._name, self._history, behavior.respond_at_random(chance))
        self._inbox.on_arrival = self._on_arrival
        self._inbox.set_secret(endpoint["secret"])
        self._endpoint_id = str(endpoint["id"])

    def accept_everything(self) -> None:
        """Accept every delivery from now on."""
        self._cluster.receiver.accept_everything(self._name)

    async def find_missing(self, rows: Sequence[Row]) -> list[str]:
        """Return the outcomes that have not arrived; recover them once nothing else is missing."""
        accepted = {
            (arrival.job["job_id"], arrival.job["sequence"])
            for received in self._inbox.arrivals.values()
            for arrival in received
            if arrival.accepted
        }
        missing = [row for row in rows if (row.job_id, row.sequence) not in accepted]
        if (
            missing
            and time.monotonic() > self._recovered_at + ASK_AGAIN_SECONDS
            and all(row.final for row in rows)
        ):
            await self._check_outbox(rows)
            self._recovered_at = time.monotonic()
            await self._user.recover(self._endpoint_id, self._since)
        return [f"no webhook reported the end of job {row.job_id[-6:]}: {row}" for row in missing]

    async def check_deliveries(self, rows: Sequence[Row]) -> None:
        """Compare the outbox with the timelines, and its log with what was received."""
        await asyncio.gather(*self._checks)
        await self._check_outbox(rows)
        outbox, attempts = await self._fetch_deliveries()
        mistakes = [
            *check_delivery_log(outbox, attempts, self._inbox.arrivals),
            *find_late_retries(outbox, time.time() + self._cluster.clock.ahead),
        ]
        for sentence in mistakes:
            self._history.add_violation(f"webhooks: {sentence}")
        self._history.count("webhooks", sum(map(len, self._inbox.arrivals.values())))
        self._history.count(
            "webhooks again", sum(len(received) > 1 for received in self._inbox.arrivals.values())
        )

    async def _fetch_deliveries(self) -> tuple[list[OutboxRow], dict[str, list[LoggedAttempt]]]:
        """Return outbox and log of a moment in which nothing arrived or was answered."""
        while True:
            before = self._inbox.counts
            deliveries = await self._cluster.database.fetch_deliveries(self._user_id)
            if self._inbox.counts == before:
                outbox, attempts = deliveries
                return [row for row in outbox if row.endpoint_id == self._endpoint_id], attempts

    async def _check_outbox(self, rows: Sequence[Row]) -> None:
        """Compare the outbox with the timelines, before a recovery could hide a lost event."""
        if self._outbox_checked:
            return
        self._outbox_checked = True
        outbox = await self._cluster.database.fetch_outbox(self._user_id)
        for row in rows:
            timeline = await self._cluster.database.fetch_timeline(row.job_id)
            for sentence in find_lost_events(outbox, self._endpoint_id, row.job_id, timeline):
                self._history.add_violation(f"webhooks: {sentence}")

    def _on_arrival(self, arrival: ReceivedWebhook) -> None:
        check = asyncio.create_task(self._checker.check_committed(arrival.job))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
