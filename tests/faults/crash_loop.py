"""Kill a service repeatedly while it delivers webhooks, and check its delivery log."""

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import jwt

from tests.faults.checkers.database_reader import DatabaseReader, PostgresSource, SqliteSource
from tests.faults.checkers.delivery_checks import PROGRESS, OutboxRow, check_delivery_log, find_lost_events
from tests.faults.checkers.inbox_checker import Inbox, ReceivedWebhook
from tests.faults.checkers.violations import History
from tests.faults.cluster.clock import FOREVER_SECONDS, Clock
from tests.faults.cluster.cluster import SECRET, SETTINGS
from tests.faults.cluster.postgres import Postgres
from tests.faults.cluster.replicas import Replica
from tests.faults.crash_plan import CLIP, EVENTS, USER, Plan
from tests.faults.workload.simulated_runs import CallbackClient, SimulatedRun
from tests.faults.workload.webhook_receiver import Receiver, Respond, ResponsePlan

MEAN_LIFE_SECONDS = 0.2
END_SECONDS = 60.0
LOOK_SECONDS = 0.5
Log = Callable[[str], None]


class CrashLoop:
    """One service that is killed repeatedly."""

    request_seconds = 10.0
    """How long a kill waits for a request that it interrupts."""
    may_succeed_late = False
    """Whether a consumer may report a success after the time-out of its attempt."""

    def __init__(self, folder: Path, plan: Plan, postgres: Postgres | None, log: Log) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.history = History()
        self.clock = Clock(folder / "clock")
        self.receiver = Receiver(self.clock.has_shown)
        self._log = log
        self._folder = folder
        self._chance = random.Random(plan.seed)  # noqa: S311 - chance, not secrecy
        data = folder / "var"
        settings = {
            **SETTINGS,
            "DATA_DIR": str(data),
            "FAULTS_CLOCK": str(self.clock.file),
            "MAX_ACTIVE_PER_USER": "1000",
            "MAX_QUEUED_PER_USER": "1000",
            "ATTEMPT_LIMIT": "20",  # each kill may cost an export that is about to start an attempt
            "SILENCE_SECONDS": "60",
            "WEBHOOK_TIMEOUT_SECONDS": str(plan.timeout_seconds),
        }
        if postgres is not None:
            settings["DATABASE_URL"] = postgres.url
        self._database = DatabaseReader(
            PostgresSource(postgres.url) if postgres is not None else SqliteSource(data / "framehook.db")
        )
        self._replicas = [
            Replica(folder, f"replica-{number}", settings, program=plan.program)
            for number in range(plan.replicas)
        ]
        self._bearer = jwt.encode({"sub": USER, "exp": int(time.time()) + FOREVER_SECONDS}, SECRET, "HS256")
        ports = [replica.port for replica in self._replicas]
        self._client = CallbackClient(ports, self._bearer, self._chance)
        self._inboxes: dict[str, Inbox] = {}  # by endpoint
        self._disabled: set[str] = set()  # endpoints that get no events any more
        self._since = datetime.now(UTC).isoformat()
        self._starts = [asyncio.Event() for _ in range(plan.jobs)]

    async def run(self) -> list[str]:
        """Return every violation as a sentence."""
        source = self._folder / "var" / "objects" / USER / CLIP
        source.parent.mkdir(parents=True)
        source.write_bytes(b"video")
        await self.receiver.open()
        for replica in self._replicas:
            replica.start()
        await asyncio.gather(*(replica.wait_ready(self._client.http) for replica in self._replicas))
        for number in range(self.plan.endpoints):
            await self._create_endpoint(f"endpoint-{number}")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kill_repeatedly())
            for number in range(self.plan.jobs):
                group.create_task(self._run_export(number))
        await asyncio.gather(*(replica.wait_ready(self._client.http) for replica in self._replicas))
        await self._wait_all_sent()
        await self._check()
        return self.history.violations

    async def close(self) -> None:
        for replica in self._replicas:
            await asyncio.to_thread(replica.stop)
        await self.receiver.close()
        await self._client.http.aclose()
        await self._database.close()

    def logs(self) -> str:
        return "\n".join(f"--- {replica.log.name}\n{replica.tail()}" for replica in self._replicas)

    async def _create_endpoint(self, name: str) -> None:
        inbox = self.receiver.add_endpoint(name, self.history, self._plan_responses(name))
        body = {"url": self.receiver.url(name), "events": EVENTS}
        endpoint = (await self._client.request_until("POST", "/api/webhooks", 201, json=body)).json()
        inbox.set_secret(endpoint["secret"])
        self._inboxes[endpoint["id"]] = inbox

    def _plan_responses(self, _name: str) -> Respond:
        return self._respond

    def _respond(self, _arrival: ReceivedWebhook, times: int) -> ResponsePlan:
        chance = self._chance
        if times == 1 and chance.random() < 0.02:
            return ResponsePlan(500)
        longest = 0.5 if chance.random() < 0.3 else 0.1
        return ResponsePlan(204, chance.random() * longest)

    async def _run_export(self, number: int) -> None:
        """Run one export, started when its share of the kills is done."""
        await self._starts[number].wait()
        keyframes = [{"time": 0, "x": 0, "y": 0, "width": 64, "height": 64}]
        body = {"type": "framing", "config": {"input_key": CLIP, "keyframes": keyframes}}
        key = {"Idempotency-Key": f"key-{number}"}
        job = (await self._client.request_until("POST", "/api/exports", 202, json=body, headers=key)).json()
        self.history.accepted[key["Idempotency-Key"]] = job["job_id"]
        run = SimulatedRun(self._client, self._database, job["job_id"], SECRET.encode(), self.clock.now)
        await run.run()

    def _start_due_exports(self) -> None:
        """Start the exports whose share of the kills is done."""
        for number in range(self.plan.jobs * (self.counts["kills"] + 1) // self.plan.kills):
            self._starts[min(number, self.plan.jobs - 1)].set()

    async def _kill_repeatedly(self) -> None:
        self._start_due_exports()
        for number in range(1, self.plan.kills + 1):
            await self._strike()
            self.counts["kills"] += 1
            self._start_due_exports()
            if number % 25 == 0:
                self._log(f"  {number} kills, {len(self.history.accepted)} exports")

    async def _strike(self) -> None:
        """Kill a replica and start it again."""
        replica = self._chance.choice(self._replicas)
        if is_ready := self._chance.random() < 0.9:  # the others hit the start
            await replica.wait_ready(self._client.http)
        await asyncio.sleep(min(self._chance.expovariate(1 / MEAN_LIFE_SECONDS), 1.0))
        if is_ready:
            await self._wait_for_request()
        interrupted = self.receiver.open_requests
        await asyncio.to_thread(replica.kill)
        self._spend_downtime()
        await asyncio.to_thread(replica.start)
        self.counts["kills with requests under way"] += bool(interrupted)

    def _spend_downtime(self) -> None:
        """Do what happens between a kill and the next start."""

    async def _wait_for_request(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.request_seconds):
                await self.receiver.busy.wait()

    async def _wait_all_sent(self) -> None:
        """Wait until nothing is pending; recover what failed, as a consumer would."""
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            pending = [row for row in await self._database.fetch_outbox(USER) if row.state == "pending"]
            if not pending and not self.receiver.open_requests:
                return
            for endpoint_id in {row.endpoint_id for row in pending if row.tries}:
                since = {"since": self._since}
                await self._client.try_request("POST", f"/api/webhooks/{endpoint_id}/recover", json=since)
            await asyncio.sleep(LOOK_SECONDS)

    async def _check(self) -> None:
        outbox, attempts = await self._database.fetch_deliveries(USER)
        jobs = set(self.history.accepted.values())
        self.history.require(
            len(jobs) == self.plan.jobs, f"{len(jobs)} exports were accepted, not {self.plan.jobs}"
        )
        for job_id in jobs:
            timeline = await self._database.fetch_timeline(job_id)
            for endpoint_id in self._inboxes.keys() - self._disabled:
                for sentence in find_lost_events(outbox, endpoint_id, job_id, timeline):
                    self.history.add_violation(sentence)
        arrivals = {
            key: received for inbox in self._inboxes.values() for key, received in inbox.arrivals.items()
        }
        mistakes = check_delivery_log(outbox, attempts, arrivals, may_succeed_late=self.may_succeed_late)
        for sentence in mistakes:
            self.history.add_violation(sentence)
        kept = [row for row in outbox if row.type != PROGRESS]
        for row in kept:
            arrived = bool(arrivals.get(row.delivery_id))
            self._check_end(row, arrived=arrived)
            self.counts["never arrived"] += not arrived
        self.counts["deliveries"] = len(kept)
        self.counts["deliveries of progress"] = len(outbox) - len(kept)
        self.counts["requests"] = sum(map(len, arrivals.values()))
        self.counts["arrived more than once"] = sum(len(received) > 1 for received in arrivals.values())
        self.counts["attempts interrupted"] = sum(
            attempt.interrupted for logged in attempts.values() for attempt in logged
        )

    def _check_end(self, row: OutboxRow, *, arrived: bool) -> None:
        # A delivery that failed makes way for newer events, and a busy machine may fail to answer.
        superseded = row.state == "superseded" and row.tries > 0
        self.counts["superseded after a failure"] += superseded
        self.history.require(row.state == "delivered" or superseded, f"{row}: it was not delivered")
        self.history.require(arrived or superseded, f"{row}: it never arrived")


@asynccontextmanager
async def open_crash_loop(
    plan: Plan, *, postgresql: bool, log: Log, loop_type: type[CrashLoop] = CrashLoop
) -> AsyncIterator[CrashLoop]:
    """Create a service in a temporary folder, ready to be run."""
    folder = Path(tempfile.mkdtemp(prefix="framehook-kills-"))
    postgres = await asyncio.to_thread(Postgres) if postgresql else None
    crash_loop = loop_type(folder, plan, postgres, log)
    try:
        yield crash_loop
    finally:
        try:
            await crash_loop.close()
        finally:
            if postgres is not None:
                await asyncio.to_thread(postgres.close)
            shutil.rmtree(folder, ignore_errors=True)
