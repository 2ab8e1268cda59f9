"""Latency of healthy consumers, with and without hostile ones beside them.

One server process, SQLite. Each event is a callback that ends an export; its latency at a healthy receiver
counts from the callback's answer, which follows the commit. The variants are measured in turn, round after
round; a backlog of each round shows what a delivery costs.
"""

import asyncio
import base64
import hmac
import itertools
import json
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import sqlite_rows
from tests.bench.ingest.throughput import attempt_key
from tests.bench.measure.samples import Samples, alternate, percentile
from tests.bench.measure.servers import Server, serve_framehook
from tests.bench.webhooks.hostile_receivers import Arrivals, receive_with, start_hostile_receivers

HEALTHY = 4
PER_USER = 50
EVENTS_PER_SECOND = 10
HOSTILE_EVENTS_PER_SECOND = 5
EXPORTS_PER_USER = 50
PATIENCE_SECONDS = 120.0
ALONE = "healthy endpoints alone"
BACKLOG = "a backlog, healthy endpoints alone"
AUTH_SECRET = "of the users of a benchmark, who sign in"
ALLOWED = {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}


@dataclass(frozen=True)
class Round:
    """One variant once: latencies at healthy receivers, and how many events never arrived."""

    latencies: Sequence[float]
    missing: int

    @property
    def median(self) -> float:
        return percentile(self.latencies, 50) * 1e3

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 99) * 1e3


class User:
    """A user of the measured service, with endpoints, whose exports end."""

    def __init__(self, name: str, client: httpx.AsyncClient, folder: Path) -> None:
        token = jwt.encode({"sub": name, "exp": int(time.time()) + 86_400}, AUTH_SECRET, "HS256")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = client
        self._insert = sqlite_rows(folder / "framehook.db", user_id=name)
        self._endpoint_ids: list[str] = []

    async def add_endpoint(self, url: str) -> None:
        body = {"url": url, "events": ["export.failed"]}
        endpoint = await self._client.post("/api/webhooks", json=body, headers=self._headers)
        endpoint.raise_for_status()
        self._endpoint_ids.append(endpoint.json()["id"])

    async def enable(self, *, enabled: bool) -> None:
        """Enable or disable the endpoints; disabling drops what is pending for them."""
        for endpoint_id in self._endpoint_ids:
            response = await self._client.patch(
                f"/api/webhooks/{endpoint_id}", json={"enabled": enabled}, headers=self._headers
            )
            response.raise_for_status()

    async def insert(self, events: int) -> list[str]:
        """Return the ids of so many new exports that run."""
        job_ids = [str(uuid.uuid4()) for _ in range(events)]
        await asyncio.to_thread(self._insert, job_ids)
        return job_ids

    async def fail(self, job_id: str) -> None:
        """End an export with an error."""
        callback: Any = build_failed_callback(job_id)
        (await self._client.post(f"/api/callbacks/{job_id}", **callback)).raise_for_status()


class Site:
    """The measured service: a user with healthy endpoints, and those whose endpoints are hostile."""

    def __init__(self, server: Server, healthy: User, hostile: list[User], arrivals: Arrivals) -> None:
        self._server = server
        self._healthy = healthy
        self._hostile = hostile
        self._arrivals = arrivals

    async def enable_hostile(self, *, enabled: bool) -> None:
        for user in self._hostile:
            await user.enable(enabled=enabled)

    @asynccontextmanager
    async def keep_hostile_busy(self) -> AsyncIterator[None]:
        """End exports of the other users, by turns, until the block ends.

        They are inserted before it, since this process and the service wait for each other to write.
        """
        job_ids = [await user.insert(EXPORTS_PER_USER) for user in self._hostile]

        async def end_exports() -> None:
            for number in itertools.count():
                which = number % len(self._hostile)
                job_ids[which] = job_ids[which] or await self._hostile[which].insert(EXPORTS_PER_USER)
                await self._hostile[which].fail(job_ids[which].pop())
                await asyncio.sleep(1 / HOSTILE_EVENTS_PER_SECOND)

        task = asyncio.create_task(end_exports())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def round(self, events: int, *, per_second: float | None) -> Round:
        """End so many exports, one after another or all together."""
        job_ids = await self._healthy.insert(events)
        before = len(self._arrivals.at)
        answered: dict[str, float] = {}

        async def end(number: int, job_id: str) -> None:
            if per_second:
                await asyncio.sleep(number / per_second)
            await self._healthy.fail(job_id)
            answered[job_id] = time.perf_counter()

        await asyncio.gather(*(end(number, job_id) for number, job_id in enumerate(job_ids)))
        expected = events * HEALTHY
        await self._arrivals.wait_for(before + expected, within_seconds=PATIENCE_SECONDS)
        arrived = [(job_id, at) for job_id, at in self._arrivals.at[before:] if job_id in answered]
        return Round([max(0.0, at - answered[job_id]) for job_id, at in arrived], expected - len(arrived))

    async def throughput(self, events: int) -> tuple[float, float]:
        """Return deliveries a second of a backlog, and the server's CPU microseconds of each, callbacks included."""
        before, cpu = len(self._arrivals.at), self._server.cpu_seconds()
        await self.round(events, per_second=None)
        times = [at for _, at in self._arrivals.at[before:]]
        spent = self._server.cpu_seconds() - cpu
        return (len(times) - 1) / (max(times) - min(times)), spent / len(times) * 1e6


def build_failed_callback(job_id: str) -> dict[str, object]:
    """Return a signed callback that fails the export's first attempt, as arguments for httpx."""
    now, message = int(time.time()), f"msg_{uuid.uuid4().hex}"
    report = {
        "job_id": job_id,
        "attempt": 1,
        "step": 1,
        "call_id": f"bench-{job_id}",
        "phase": "processing",
        "progress": 41.0,
        "message": "It broke.",
        "error": {"code": "broken", "message": "It broke.", "transient": False},
    }
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": "export.failed", "timestamp": timestamp, "data": report}).encode()
    digest = hmac.digest(attempt_key(job_id), f"{message}.{now}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": message, "webhook-timestamp": str(now), "webhook-signature": signature}
    return {"content": body, "headers": headers | {"content-type": "application/json"}}


@asynccontextmanager
async def open_site(hostile: int) -> AsyncIterator[Site]:
    """Run a server with healthy endpoints and so many hostile ones."""
    arrivals = Arrivals()
    async with AsyncExitStack() as stack:
        sync = stack.enter_context(ExitStack())
        folder = Path(sync.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        server = sync.enter_context(serve_framehook(folder, ALLOWED | {"AUTH_JWT_SECRET": AUTH_SECRET}))
        limits = httpx.Limits(max_connections=32)
        address = f"http://127.0.0.1:{server.port}"
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=address, limits=limits, timeout=60, trust_env=False)
        )
        healthy = User("healthy", client, folder)
        for number in range(HEALTHY):
            port = await stack.enter_async_context(receive_with(arrivals.accept))
            await healthy.add_endpoint(f"http://127.0.0.1:{port}/{number}")
        receivers = sync.enter_context(start_hostile_receivers()).items()
        users = [User(f"hostile-{number}", client, folder) for number in range(-(-hostile // PER_USER))]
        for number, (name, port) in enumerate(itertools.islice(itertools.cycle(receivers), hostile)):
            await users[number // PER_USER].add_endpoint(f"{name.split()[0]}://127.0.0.1:{port}/{number}")
        yield Site(server, healthy, users, arrivals)


async def measure(options: Options) -> list[Figure]:
    """Measure both variants in turn, and a backlog after each round."""
    samples, events, hostile = Samples(), options.sizes["events"], options.sizes["hostile"]
    beside = f"beside {hostile:,} hostile endpoints"
    async with open_site(hostile) as site:
        await site.enable_hostile(enabled=False)
        await site.round(
            HEALTHY, per_second=EVENTS_PER_SECOND
        )  # no endpoint is known before its first answer
        for variant in alternate([ALONE, beside], options.rounds):
            if variant == beside:
                await site.enable_hostile(enabled=True)
                async with site.keep_hostile_busy():
                    latencies = await site.round(events, per_second=EVENTS_PER_SECOND)
                await site.enable_hostile(enabled=False)
            else:
                latencies = await site.round(events, per_second=EVENTS_PER_SECOND)
                rate, cpu = await site.throughput(options.sizes["backlog"])
                samples.add(BACKLOG, "deliveries", rate, "1/s")
                samples.add(BACKLOG, "server CPU each", cpu, "µs")
            samples.add(variant, "median", latencies.median, "ms")
            samples.add(variant, "p99", latencies.p99, "ms")
            samples.add(variant, "missing", latencies.missing, "count")
    samples.add_ratios("median", base=ALONE)
    samples.add_ratios("p99", base=ALONE)
    return samples.to_figures()


BENCHMARK = Benchmark(
    description=f"Time from a commit to a webhook's arrival at {HEALTHY} healthy endpoints, {EVENTS_PER_SECOND} events "
    "a second, beside endpoints that hang, drip, send without end, redirect, break off or speak no TLS. These belong "
    f"to users with {PER_USER} each; {HOSTILE_EVENTS_PER_SECOND} of their exports end each second.",
    run=lambda options: asyncio.run(measure(options)),
    sizes={"events": Size(150, smoke=2), "hostile": Size(1_000, smoke=8), "backlog": Size(500, smoke=2)},
)
