"""A service that is killed again and again while it delivers webhooks, and the books that it keeps of them."""

import asyncio
import math
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jwt

from tests.faults.checkers.database_reader import Ledger, PostgresSource, SqliteSource
from tests.faults.checkers.delivery_checks import PROGRESS, forgotten, mistakes
from tests.faults.checkers.inbox_checker import Arrival, Inbox
from tests.faults.checkers.violations import Record
from tests.faults.cluster.cluster import SECRET, SETTINGS
from tests.faults.cluster.postgres import Postgres
from tests.faults.cluster.replicas import Replica
from tests.faults.workload.simulated_runs import STORY, Client, ToldRun
from tests.faults.workload.webhook_receiver import Receiver, Treatment

USER = "ada"
CLIP = "clips/match.mp4"
ENDPOINTS = 10
EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"]
LASTING = sum(kind != PROGRESS for kind, _ in STORY)
"""Events of a job that are delivered whatever comes after them."""
MEAN_LIFE_SECONDS = 0.2
UNDER_WAY_SECONDS = 10.0
END_SECONDS = 60.0
LOOK_SECONDS = 0.5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How much is delivered, and how often that is cut off; the seed decides when."""

    kills: int
    deliveries: int
    seed: int
    replicas: int = 1
    timeout_seconds: float = 2.0  # what a killed replica was sending is another's after four times as long

    @property
    def jobs(self) -> int:
        return math.ceil(self.deliveries / (ENDPOINTS * LASTING))


class Siege:
    """One service under fire."""

    def __init__(self, folder: Path, plan: Plan, postgres: Postgres | None, say: Say) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.record = Record()
        self.receiver = Receiver()
        self._say = say
        self._folder = folder
        self._chance = random.Random(plan.seed)  # noqa: S311 - chance, not secrecy
        data = folder / "var"
        settings = {
            **SETTINGS,
            "DATA_DIR": str(data),
            "MAX_ACTIVE_PER_USER": "1000",
            "MAX_QUEUED_PER_USER": "1000",
            "ATTEMPT_LIMIT": "20",  # each kill may cost an export that is about to start an attempt
            "SILENCE_SECONDS": "60",
            "WEBHOOK_TIMEOUT_SECONDS": str(plan.timeout_seconds),
        }
        if postgres is not None:
            settings["DATABASE_URL"] = postgres.url
        self._ledger = Ledger(
            PostgresSource(postgres.url) if postgres is not None else SqliteSource(data / "framehook.db")
        )
        program = ("tests.faults.cluster.replica_entry:serve_for_told_runs",)
        self._replicas = [
            Replica(folder, f"replica-{number}", settings, program=program) for number in range(plan.replicas)
        ]
        bearer = jwt.encode({"sub": USER, "exp": int(time.time()) + 3_600}, SECRET, "HS256")
        self._client = Client([one.port for one in self._replicas], bearer, self._chance)
        self._inboxes: dict[str, Inbox] = {}  # by endpoint
        self._since = datetime.now(UTC).isoformat()
        self._turns = [asyncio.Event() for _ in range(plan.jobs)]

    async def run(self) -> list[str]:
        """Every violation, as a sentence."""
        source = self._folder / "var" / "objects" / USER / CLIP
        source.parent.mkdir(parents=True)
        source.write_bytes(b"video")
        await self.receiver.open()
        for replica in self._replicas:
            replica.start()
        await asyncio.gather(*(one.ready(self._client.http) for one in self._replicas))
        for number in range(ENDPOINTS):
            await self._endpoint(f"endpoint-{number}")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill())
            for number in range(self.plan.jobs):
                group.create_task(self._export(number))
        await asyncio.gather(*(one.ready(self._client.http) for one in self._replicas))
        await self._ended()
        await self._judge()
        return self.record.violations

    async def close(self) -> None:
        for replica in self._replicas:
            await asyncio.to_thread(replica.stop)
        await self.receiver.close()
        await self._client.http.aclose()
        await self._ledger.close()

    def logs(self) -> str:
        return "\n".join(f"--- {replica.log.name}\n{replica.tail()}" for replica in self._replicas)

    async def _endpoint(self, name: str) -> None:
        inbox = self.receiver.endpoint(name, self.record, self._mood)
        asked = {"url": self.receiver.url(name), "events": EVENTS}
        made = (await self._client.insist("POST", "/api/webhooks", 201, json=asked)).json()
        inbox.trust(made["secret"])
        self._inboxes[made["id"]] = inbox

    def _mood(self, _arrival: Arrival, times: int) -> Treatment:
        chance = self._chance
        if times == 1 and chance.random() < 0.02:
            return Treatment(500)
        longest = 0.5 if chance.random() < 0.3 else 0.1
        return Treatment(204, chance.random() * longest)

    async def _export(self, number: int) -> None:
        """One export, begun when its share of the kills is done."""
        await self._turns[number].wait()
        keyframes = [{"time": 0, "x": 0, "y": 0, "width": 64, "height": 64}]
        asked = {"type": "framing", "config": {"input_key": CLIP, "keyframes": keyframes}}
        key = {"Idempotency-Key": f"key-{number}"}
        job = (await self._client.insist("POST", "/api/exports", 202, json=asked, headers=key)).json()
        self.record.accepted[key["Idempotency-Key"]] = job["job_id"]
        await ToldRun(self._client, self._ledger, job["job_id"], SECRET.encode()).tell()

    def _go_on(self) -> None:
        """Begin the exports whose share of the kills is done."""
        for number in range(self.plan.jobs * (self.counts["kills"] + 1) // self.plan.kills):
            self._turns[min(number, self.plan.jobs - 1)].set()

    async def _kill(self) -> None:
        self._go_on()
        for number in range(1, self.plan.kills + 1):
            replica = self._chance.choice(self._replicas)
            if amid := self._chance.random() < 0.9:  # the others fall into the start, and whatever that does
                await replica.ready(self._client.http)
            await asyncio.sleep(min(self._chance.expovariate(1 / MEAN_LIFE_SECONDS), 1.0))
            if amid:
                await self._under_way()
            cut_off = self.receiver.open_requests
            await asyncio.to_thread(replica.kill)
            await asyncio.to_thread(replica.start)
            self.counts["kills"] += 1
            self._go_on()
            self.counts["kills with requests under way"] += bool(cut_off)
            if number % 25 == 0:
                self._say(f"  {number} kills, {len(self.record.accepted)} exports")

    async def _under_way(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(UNDER_WAY_SECONDS):
                await self.receiver.busy.wait()

    async def _ended(self) -> None:
        """Wait until nothing is left to send; what has failed is asked for again, as a consumer would."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            left = [one for one in await self._ledger.sendings(USER) if one.state == "pending"]
            if not left and not self.receiver.open_requests:
                return
            for endpoint_id in {one.endpoint_id for one in left if one.tries}:
                since = {"since": self._since}
                await self._client.tried("POST", f"/api/webhooks/{endpoint_id}/recover", json=since)
            await asyncio.sleep(LOOK_SECONDS)

    async def _judge(self) -> None:
        sendings, tries = await self._ledger.books(USER)
        jobs = set(self.record.accepted.values())
        self.record.require(
            len(jobs) == self.plan.jobs, f"{len(jobs)} exports were accepted, not {self.plan.jobs}"
        )
        for job_id in jobs:
            moments = await self._ledger.timeline(job_id)
            for endpoint_id in self._inboxes:
                for sentence in forgotten(sendings, endpoint_id, job_id, moments):
                    self.record.broken(sentence)
        arrivals = {key: seen for inbox in self._inboxes.values() for key, seen in inbox.arrivals.items()}
        for sentence in mistakes(sendings, tries, arrivals):
            self.record.broken(sentence)
        lasting = [one for one in sendings if one.type != PROGRESS]
        for one in lasting:
            # What a receiver failed to take is dropped for newer news, and a machine may be too busy to be reached.
            overtaken = one.state == "superseded" and one.tries > 0
            self.counts["overtaken after a failure"] += overtaken
            self.record.require(one.state == "delivered" or overtaken, f"{one}: it was not delivered")
            arrived = bool(arrivals.get(one.delivery_id))
            self.record.require(arrived or overtaken, f"{one}: it never arrived")
            self.counts["never arrived"] += not arrived
        self.counts["deliveries"] = len(lasting)
        self.counts["deliveries of progress"] = len(sendings) - len(lasting)
        self.counts["requests"] = sum(map(len, arrivals.values()))
        self.counts["arrived more than once"] = sum(len(seen) > 1 for seen in arrivals.values())
        self.counts["attempts interrupted"] = sum(each.interrupted for one in tries.values() for each in one)


@asynccontextmanager
async def besieged(plan: Plan, *, postgresql: bool, say: Say) -> AsyncIterator[Siege]:
    """A service in a temporary folder, to be run."""
    folder = Path(tempfile.mkdtemp(prefix="framehook-kills-"))
    postgres = await asyncio.to_thread(Postgres) if postgresql else None
    siege = Siege(folder, plan, postgres, say)
    try:
        yield siege
    finally:
        try:
            await siege.close()
        finally:
            if postgres is not None:
                await asyncio.to_thread(postgres.close)
            shutil.rmtree(folder, ignore_errors=True)
