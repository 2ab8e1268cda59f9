"""A user's own server: is told of every event by webhook, and asks again for what it has not taken."""

import asyncio
import random
import time
from collections.abc import Sequence

from tests.faults.checkers.database_reader import Row
from tests.faults.checkers.delivery_checks import Sending, Try, forgotten, mistakes, waiting_too_long
from tests.faults.checkers.inbox_checker import Arrival
from tests.faults.checkers.stream_checker import Witness
from tests.faults.checkers.violations import Record
from tests.faults.cluster.cluster import World
from tests.faults.workload.user import User
from tests.faults.workload.webhook_receiver import Temper

EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"]
ASK_AGAIN_SECONDS = 1.0


class Consumer:
    """The endpoint of one user."""

    def __init__(self, world: World, user_id: str, user: User, record: Record) -> None:
        self._world = world
        self._user_id = user_id
        self._user = user
        self._record = record
        self._witness = Witness("webhooks", record, world.ledger, world.objects)
        self._since = "2000-01-01T00:00:00Z"  # whatever the service's clock has shown since then
        self._checks: set[asyncio.Task[None]] = set()
        self._asked = 0.0
        self._compared = False

    async def move_in(self, temper: Temper, chance: random.Random) -> None:
        """Make the endpoint known to the service."""
        receiver = self._world.receiver
        made = await self._user.endpoint(receiver.url(self._user_id), EVENTS)
        self._name = str(made["url"]).rpartition("/")[2]
        self._inbox = receiver.endpoint(self._name, self._record, temper.mood(chance))
        self._inbox.noticed = self._noticed
        self._inbox.trust(made["secret"])
        self._endpoint_id = str(made["id"])

    def calm(self) -> None:
        """From here on it takes what it is sent."""
        self._world.receiver.calm(self._name)

    async def missing(self, rows: Sequence[Row]) -> list[str]:
        """The ends that it was not told of; once it is all that is missing, it asks for them."""
        told = {
            (each.job["job_id"], each.job["sequence"])
            for seen in self._inbox.arrivals.values()
            for each in seen
            if each.taken
        }
        left = [row for row in rows if (row.job_id, row.sequence) not in told]
        if left and time.monotonic() > self._asked + ASK_AGAIN_SECONDS and all(row.final for row in rows):
            await self._compare(rows)
            self._asked = time.monotonic()
            await self._user.recover(self._endpoint_id, self._since)
        return [f"no webhook told of the end of job {row.job_id[-6:]}: {row}" for row in left]

    async def ends_well(self, rows: Sequence[Row]) -> None:
        """Hold the outbox against the timelines, and its log against what was received."""
        await asyncio.gather(*self._checks)
        await self._compare(rows)
        sendings, tries = await self._books()
        wrong = [
            *mistakes(sendings, tries, self._inbox.arrivals),
            *waiting_too_long(sendings, time.time() + self._world.clock.ahead),
        ]
        for sentence in wrong:
            self._record.broken(f"webhooks: {sentence}")
        self._record.count("webhooks", sum(map(len, self._inbox.arrivals.values())))
        self._record.count("webhooks again", sum(len(seen) > 1 for seen in self._inbox.arrivals.values()))

    async def _books(self) -> tuple[list[Sending], dict[str, list[Try]]]:
        """Outbox and log as of a moment in which nothing came or was answered: else they tell less than was seen."""
        while True:
            before = self._inbox.heard
            books = await self._world.ledger.books(self._user_id)
            if self._inbox.heard == before:
                sendings, tries = books
                return [one for one in sendings if one.endpoint_id == self._endpoint_id], tries

    async def _compare(self, rows: Sequence[Row]) -> None:
        """What happened is in the outbox. Looked at before anything is asked for again, which could hide it."""
        if self._compared:
            return
        self._compared = True
        sendings = await self._world.ledger.sendings(self._user_id)
        for row in rows:
            moments = await self._world.ledger.timeline(row.job_id)
            for sentence in forgotten(sendings, self._endpoint_id, row.job_id, moments):
                self._record.broken(f"webhooks: {sentence}")

    def _noticed(self, arrival: Arrival) -> None:
        check = asyncio.create_task(self._witness.committed(arrival.job))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
