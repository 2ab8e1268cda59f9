"""A consumer that receives every event by webhook and recovers what it has missed."""

import asyncio
import math
import random
import time
from collections.abc import Collection, Sequence

from service.webhooks.models import WebhookEvent
from tests.faults.checkers.batch_checks import find_wrong_totals
from tests.faults.checkers.database_reader import Row
from tests.faults.checkers.delivery_checks import (
    PROGRESS,
    LoggedAttempt,
    OutboxRow,
    check_delivery_log,
    find_late_retries,
    find_lost_events,
    find_unannounced_expiries,
    find_wrong_batches,
    find_wrong_erasures,
)
from tests.faults.checkers.inbox_checker import BATCH_COMPLETED, ERASED, EXPIRED, ReceivedWebhook
from tests.faults.checkers.stream_checker import StreamChecker
from tests.faults.checkers.violations import History
from tests.faults.cluster.cluster import Cluster
from tests.faults.workload.endpoint_calls import create_endpoint, recover, redeliver
from tests.faults.workload.user import User
from tests.faults.workload.webhook_receiver import ReceiverBehavior

EVENTS = frozenset(event.value for event in WebhookEvent)
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

    async def register(
        self, behavior: ReceiverBehavior, chance: random.Random, *, wants_progress: bool
    ) -> None:
        """Register the endpoint with the service."""
        events = sorted(EVENTS if wants_progress else EVENTS - {PROGRESS})
        receiver = self._cluster.receiver
        endpoint = await create_endpoint(self._user, receiver.url(self._user_id), events)
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
            (arrival.subject, arrival.sequence)
            for received in self._inbox.arrivals.values()
            for arrival in received
            if arrival.accepted
        }
        missing = [row for row in rows if (row.job_id, row.sequence) not in accepted]
        unannounced = [
            subject for subject, sequence in self._list_announced() if (subject, sequence) not in accepted
        ]
        if (
            (missing or unannounced)
            and time.monotonic() > self._recovered_at + ASK_AGAIN_SECONDS
            and all(row.final for row in rows)
        ):
            await self._check_outbox()
            self._recovered_at = time.monotonic()
            self._inbox.is_recovering = True
            await recover(self._user, self._endpoint_id, self._since)
            await self._redeliver_notices({*unannounced, *(row.job_id for row in missing if row.edits)})
        return [
            *(f"no webhook reported the end of job {row.job_id[-6:]}: {row}" for row in missing),
            *(f"no webhook reported the end of {subject}" for subject in unannounced),
        ]

    async def _redeliver_notices(self, subjects: Collection[str]) -> None:
        """Ask for the events that a recovery leaves to their schedule: it sends ends of exports only."""
        for row in await self._cluster.database.fetch_outbox(self._user_id):
            is_missed = row.endpoint_id == self._endpoint_id and row.state != "delivered"
            if is_missed and row.job_id in subjects and row.type in (ERASED, EXPIRED, BATCH_COMPLETED):
                await redeliver(self._user, self._endpoint_id, row.delivery_id)

    def _list_announced(self) -> list[tuple[str, float]]:
        """Return what must arrive: each erasure of an export, and the end of each batch that is not erased."""
        history = self._history
        erased = [(job_id, math.inf) for job_id in history.job_ids if history.is_erased(job_id)]
        batches = [(batch_id, 1.0) for batch_id in history.batches if batch_id not in history.removals]
        return erased + batches

    async def check_deliveries(self) -> None:
        """Compare the outbox with the timelines, and its log with what was received."""
        await asyncio.gather(*self._checks)
        await self._check_outbox()
        outbox, attempts = await self._fetch_deliveries()
        mistakes = [
            *check_delivery_log(outbox, attempts, self._inbox.arrivals, self._history.removals),
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

    async def _check_outbox(self) -> None:
        """Compare the outbox with timelines, erasures and batches, before a recovery could hide a lost event."""
        database = self._cluster.database
        erased = [job_id for job_id in self._history.job_ids if self._history.is_erased(job_id)]
        rows = await database.fetch_user_rows(self._user_id)
        timelines = {row.job_id: await database.fetch_timeline(row.job_id) for row in rows}
        outbox = await database.fetch_outbox(self._user_id)
        after = {row.job_id: row.sequence for row in await database.fetch_user_rows(self._user_id)}
        wrong = [
            *find_wrong_erasures(outbox, self._endpoint_id, erased),
            *find_wrong_batches(outbox, self._endpoint_id, self._history),
        ]
        for row in rows:
            if row.sequence != after.get(row.job_id):
                continue  # it has just expired
            steps = range(row.transition_sequence + 1, row.sequence + 1) if row.final else ()
            wrong += find_lost_events(outbox, self._endpoint_id, row.job_id, timelines[row.job_id])
            wrong += find_unannounced_expiries(outbox, self._endpoint_id, row.job_id, steps)
        for sentence in wrong:
            self._history.add_violation(f"webhooks: {sentence}")

    def _on_arrival(self, arrival: ReceivedWebhook) -> None:
        check = asyncio.create_task(self._check_arrival(arrival))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def _check_arrival(self, arrival: ReceivedWebhook) -> None:
        """Check that what a webhook says is committed."""
        if arrival.type == BATCH_COMPLETED:
            for sentence in find_wrong_totals(arrival.event["data"]):
                self._history.add_violation(f"webhooks: {sentence}")
        elif arrival.type == ERASED:
            row = await self._cluster.database.wait_for_row(arrival.subject)
            self._history.require(row is None, f"webhooks: {arrival}, and the row says {row}")
        else:
            await self._checker.check_committed(arrival.event["data"])
