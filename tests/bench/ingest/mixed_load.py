"""Callbacks while thousands of readers watch: how late responses and events are.

Every export reports four times a second, each at its own moment, and its readers hold an event stream open. A callback
is timed from the moment at which it was due, so that a stall of the server counts in full.
"""

import asyncio
import re
import resource
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import Insert, postgresql_rows, sqlite_rows
from tests.bench.ingest.throughput import attempt_key, requests_for
from tests.bench.measure.samples import Samples, alternate, percentile
from tests.bench.measure.servers import Server, serve_framehook, start_postgresql

PERIOD_SECONDS = 0.25
SETTLE_SECONDS = 2.0
OPEN_SECONDS = 60.0
OPENED_AT_ONCE = 100
MANY = "20000"
LIMITS = ("MAX_STREAMS", "MAX_STREAMS_PER_USER", "MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS")
EVENT_ID = re.compile(rb"id: (\d+)\n")


@dataclass(frozen=True)
class Variant:
    """A server, how jobs are inserted for it, and whether readers watch them."""

    name: str
    server: Server
    insert: Insert
    is_watched: bool


@dataclass
class Export:
    """A job under report, with the moments at which its sequences were due, and how late they came."""

    job_id: str
    due_at: dict[int, float] = field(default_factory=dict)
    response_seconds: list[float] = field(default_factory=list)
    event_seconds: list[float] = field(default_factory=list)


class Reader(asyncio.Protocol):
    """An event stream of one export."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(
            b"GET /api/exports/%b/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" % self._export.job_id.encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        for sequence in EVENT_ID.findall(data):
            if not self.opened.done():
                self.opened.set_result(None)
            elif (due := self._export.due_at.get(int(sequence))) is not None:
                self._export.event_seconds.append(now - due)


async def open_readers(port: int, exports: list[Export], readers: int) -> list[asyncio.BaseTransport]:
    """Open all streams, some at a time, and wait until each has the first state of its export."""
    loop = asyncio.get_running_loop()
    opened: list[asyncio.BaseTransport] = []
    async with asyncio.timeout(OPEN_SECONDS):
        for first in range(0, readers, OPENED_AT_ONCE):
            pairs = [
                await loop.create_connection(lambda n=n: Reader(exports[n % len(exports)]), "127.0.0.1", port)  # type: ignore[misc]
                for n in range(first, min(first + OPENED_AT_ONCE, readers))
            ]
            await asyncio.gather(*(reader.opened for _, reader in pairs))
            opened += [transport for transport, _ in pairs]
    return opened


async def report(port: int, export: Export, requests: list[bytes], begin_at: float) -> None:
    """Send the callbacks of one export when they are due, or as soon as the one before is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number, request in enumerate(requests):
        due = begin_at + number * PERIOD_SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        export.due_at[number + 2] = due  # the row begins with sequence 1
        writer.write(request)
        answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        export.response_seconds.append(time.perf_counter() - due)
    writer.close()


async def measure(variant: Variant, exports: list[Export], readers: int, seconds: int) -> float:
    """Run one round; return the CPU seconds of the server while exports report."""
    port = variant.server.port
    steps = range(1, round(seconds / PERIOD_SECONDS) + 1)
    prepared = [requests_for(export.job_id, attempt_key(export.job_id), steps) for export in exports]
    streams = await open_readers(port, exports, readers if variant.is_watched else 0)
    before = variant.server.cpu_seconds()
    begin_at = time.perf_counter() + SETTLE_SECONDS / 2
    async with asyncio.TaskGroup() as group:
        for number, (export, requests) in enumerate(zip(exports, prepared, strict=True)):
            offset = PERIOD_SECONDS * number / len(exports)
            group.create_task(report(port, export, requests, begin_at + offset))
    await asyncio.sleep(SETTLE_SECONDS)
    for stream in streams:
        stream.close()
    return variant.server.cpu_seconds() - before


def run(options: Options) -> list[Figure]:
    """Measure all variants in turn, each round with new exports."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    readers, seconds = options.sizes["readers"], options.sizes["seconds"]
    samples = Samples()
    with ExitStack() as stack:
        for variant in alternate(list(_variants(stack)), options.rounds):
            exports = [Export(str(uuid.uuid4())) for _ in range(options.sizes["exports"])]
            variant.insert([export.job_id for export in exports])
            cpu = uvloop.run(measure(variant, exports, readers, seconds))
            _add_samples(samples, variant, exports, cpu / seconds, readers)
    return samples.to_figures()


def _add_samples(
    samples: Samples, variant: Variant, exports: list[Export], cores: float, readers: int
) -> None:
    responses = [seconds * 1e3 for export in exports for seconds in export.response_seconds]
    events = [seconds * 1e3 for export in exports for seconds in export.event_seconds]
    samples.add(variant.name, "response, median", percentile(responses, 50), "ms")
    samples.add(variant.name, "response, p99", percentile(responses, 99), "ms")
    samples.add(variant.name, "server CPU", cores * 100, "%")
    if variant.is_watched:
        sent = len(responses) * readers / len(exports)
        samples.add(variant.name, "event, median", percentile(events, 50), "ms")
        samples.add(variant.name, "event, p99", percentile(events, 99), "ms")
        samples.add(variant.name, "states that readers got", len(events) / sent * 100, "%")


def _variants(stack: ExitStack) -> Iterator[Variant]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
    limits = dict.fromkeys(LIMITS, MANY)
    sqlite = stack.enter_context(serve_framehook(folder / "sqlite", limits))
    rows = sqlite_rows(folder / "sqlite" / "framehook.db")
    yield Variant("SQLite, nobody watches", sqlite, rows, is_watched=False)
    yield Variant("SQLite, all are watched", sqlite, rows, is_watched=True)
    url = stack.enter_context(start_postgresql())
    postgresql = stack.enter_context(serve_framehook(folder / "postgresql", {**limits, "DATABASE_URL": url}))
    yield Variant("PostgreSQL, all are watched", postgresql, postgresql_rows(url), is_watched=True)


BENCHMARK = Benchmark(
    description="Lateness of responses and of events while exports report four times a second and readers watch them.",
    run=run,
    rounds=3,
    sizes={"readers": Size(5_000, smoke=8), "exports": Size(500, smoke=4), "seconds": Size(8, smoke=1)},
)
