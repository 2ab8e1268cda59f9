"""A backlog of a million deliveries that one process works off: rate, CPU, memory, and the time to the first.

A part at the beginning, in the middle and at the end is delivered and measured, each by a service that is started for
it. The rows between them are marked as delivered in the database, so that a run takes minutes instead of an hour. The
baseline is a backlog as long as one of these parts, in an outbox that has nothing else.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service import schema
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.peak_memory import read_memory, watch_peak
from tests.bench.measure.samples import Samples
from tests.bench.measure.servers import serve_framehook, start_postgresql
from tests.bench.webhooks.backlog_rows import STEP_SECONDS, BacklogRows, create_endpoints
from tests.bench.webhooks.latency import ALLOWED

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
PORTS = 8
PATIENCE_SECONDS = 1_200.0
_FINE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Counter:
    """How many deliveries have arrived at any endpoint."""

    def __init__(self) -> None:
        self.count = 0
        self._arrived = asyncio.Event()

    def add(self) -> None:
        self.count += 1
        self._arrived.set()

    async def wait_for(self, count: int) -> float:
        """Wait for so many arrivals since the start; return when (by `perf_counter`)."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.count < count:
                self._arrived.clear()
                await self._arrived.wait()
        return time.perf_counter()


class CountedRequest(asyncio.Protocol):
    """A connection of a receiver that costs little: it takes one delivery and answers 204."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if end and len(body) >= int(length):
            self._transport.write(_FINE)
            self._transport.close()
            self._counter.add()


@asynccontextmanager
async def receive(counter: Counter) -> AsyncIterator[list[int]]:
    """Receive on some ports, and yield them."""
    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: CountedRequest(counter), "127.0.0.1", 0, backlog=512)
        for _ in range(PORTS)
    ]
    try:
        yield [server.sockets[0].getsockname()[1] for server in servers]
    finally:
        for server in servers:
            server.close()


@contextmanager
def open_url(database: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database."""
    folder.mkdir()
    if database == POSTGRESQL:
        with start_postgresql() as url:
            yield url
    else:
        yield sqlite_url(folder / "framehook.db")


@dataclass(frozen=True)
class Site:
    """A database with endpoints, and where the service that works it off is started."""

    name: str
    folder: Path
    environment: dict[str, str]
    database: Database
    endpoints: int
    counter: Counter
    samples: Samples

    async def insert(self, count: int) -> BacklogRows:
        """Write a backlog of so many deliveries, the last due now."""
        rows = BacklogRows(self.database, self.endpoints, count, time.time() - count * STEP_SECONDS)
        await rows.insert()
        return rows

    async def drain(self, variant: str, until: Coroutine[None, None, object]) -> None:
        """Start the service, and measure what it delivers until `until` is done."""
        with ExitStack() as stack:
            began, arrived = time.perf_counter(), self.counter.count
            serving = serve_framehook(self.folder, self.environment)
            is_done = asyncio.create_task(until)
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(asyncio.to_thread(stack.enter_context, serving))
                arriving = group.create_task(self.counter.wait_for(arrived + 1))
            server, first_at = starting.result(), arriving.result()
            # What has arrived while the service started is left out, but for a smoke test that is over by now.
            first, cpu, measured_at = self.counter.count, server.cpu_seconds(), time.perf_counter()
            with watch_peak(server.process.pid) as peak:
                await is_done
            spent, seconds = server.cpu_seconds() - cpu, time.perf_counter() - measured_at
            count = max(1, self.counter.count - first)
            self.samples.add(variant, "deliveries", count / seconds, "1/s")
            self.samples.add(variant, "server CPU each", spent / count * 1e6, "µs")
            self.samples.add(variant, "first after", first_at - began, "s")
            self.samples.add(variant, "CPU until then", cpu, "s")
            self.samples.add(variant, "memory, highest", peak.own / 2**20, "MiB")
            memory = read_memory(server.process.pid).own / 2**20
            self.samples.add(variant, "memory, at the end", memory, "MiB")


@asynccontextmanager
async def open_site(name: str, folder: Path, options: Options, samples: Samples) -> AsyncIterator[Site]:
    """Create a database and endpoints, and measure the memory of a service that has nothing to do."""
    counter = Counter()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(open_url(name, folder))
        await asyncio.to_thread(schema.upgrade, url)
        database = open_database(url)
        stack.push_async_callback(database.close)
        environment = ALLOWED | ({"DATABASE_URL": url} if name == POSTGRESQL else {})
        if not options.is_smoke:  # a start takes a second
            with serve_framehook(folder, environment) as server:
                memory = read_memory(server.process.pid).own / 2**20
                samples.add(f"{name}: idle", "memory, highest", memory, "MiB")
        ports = await stack.enter_async_context(receive(counter))
        endpoints = options.sizes["endpoints"]
        await create_endpoints(database, endpoints, ports, time.time())
        yield Site(name, folder, environment, database, endpoints, counter, samples)


async def measure_site(site: Site, count: int, part: int) -> None:
    """Measure a short backlog, and parts of a long one."""
    short = f"{site.name}: all of {part:,}"
    rows = await site.insert(part)
    await site.drain(short, rows.wait_empty())
    beginning, middle, end = (
        f"{site.name}: {part:,} {where} of {count:,}"
        for where in ("at the beginning", "in the middle", "at the end")
    )
    rows = await site.insert(count)
    await site.drain(beginning, site.counter.wait_for(site.counter.count + part))
    await rows.mark_delivered(count // 2)
    await site.drain(middle, site.counter.wait_for(site.counter.count + part))
    await rows.mark_delivered(count - part)
    await site.drain(end, rows.wait_empty())
    for measure in ("server CPU each", "CPU until then", "memory, highest"):
        site.samples.add_ratios(measure, base=short, among=[short, beginning, middle, end])


async def measure(options: Options) -> list[Figure]:
    """Measure the databases, one after the other."""
    samples = Samples()
    for _ in range(options.rounds):
        for name in (SQLITE, POSTGRESQL):
            if count := options.sizes[name.lower()]:
                with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
                    async with open_site(name, Path(folder) / "data", options, samples) as site:
                        await measure_site(site, count, options.sizes["part"])
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="A backlog of deliveries that one process works off, its beginning, middle and end, beside a backlog "
    "that is no longer than one of these parts.",
    run=lambda options: asyncio.run(measure(options)),
    rounds=1,
    sizes={
        "sqlite": Size(1_000_000, smoke=2_000),
        "postgresql": Size(1_000_000, smoke=2_000),
        "endpoints": Size(1_000, smoke=4),
        "part": Size(20_000, smoke=100),
    },
)
