"""Signed callbacks a second of one server process, beside baselines.

Every variant runs on the same uvicorn (the ceiling configured as Framehook's server) and is measured in turn,
round after round. Requests are signed before the clock starts. Wall time and the server's own CPU time are
shown; the latter is steadier on a busy machine.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import Insert, postgresql_rows, sqlite_rows, usual_rows
from tests.bench.measure.samples import Samples, alternate, percentile
from tests.bench.measure.servers import (
    SECRET,
    Server,
    serve,
    serve_framehook,
    serve_on_own_server,
    start_postgresql,
)

CONNECTIONS = 64
MESSAGE = "Encoding with h264_nvenc; frame by frame, as measured, with the time that is left"
BARE = "bare ASGI application on the service's server"
USUAL = "usual code: a session and a commit each, SQLite"


@dataclass(frozen=True)
class Variant:
    """A server to measure, and how jobs are inserted for it."""

    name: str
    server: Server
    insert: Insert
    key_of: Callable[[str], bytes]


@dataclass(frozen=True)
class Sample:
    """One round of one variant."""

    requests_per_second: float
    cpu_microseconds: float
    p99_milliseconds: float


def attempt_key(job_id: str) -> bytes:
    """Return the key of a job's first attempt: HKDF-SHA256 of the master secret."""
    extracted = hmac.digest(bytes(32), SECRET.encode(), "sha256")
    return hmac.digest(extracted, f"{job_id}:1".encode() + b"\x01", "sha256")


def requests_for(job_id: str, key: bytes, steps: range) -> list[bytes]:
    """Return one job's progress callbacks as raw requests, signed now."""
    return [build_request(job_id, key, step, progress=99.0 * step / steps.stop) for step in steps]


def build_request(
    job_id: str, key: bytes, step: int, message: str = MESSAGE, *, progress: float = 0.0
) -> bytes:
    """Return a progress callback as a raw request, signed now."""
    now = int(time.time())
    report = {
        "job_id": job_id,
        "attempt": 1,
        "step": step,
        "call_id": f"bench-{job_id}",
        "phase": "processing",
        "progress": round(progress, 2),
        "message": message,
        "eta_seconds": 12.5,
    }
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": "export.progress", "timestamp": timestamp, "data": report}).encode()
    message_id = f"msg_{uuid.uuid4().hex}"
    signature = base64.b64encode(hmac.digest(key, f"{message_id}.{now}.".encode() + body, "sha256")).decode()
    head = (
        f"POST /api/callbacks/{job_id} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"webhook-id: {message_id}\r\nwebhook-timestamp: {now}\r\nwebhook-signature: v1,{signature}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """Sends requests one after another; each waits for the answer to the one before."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = iter(requests)
        self._sent = 0.0
        self._received = b""
        self.latencies: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def start(self) -> None:
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self._received.decode(errors="replace")[:400]))
            self._transport.close()
            return
        self._received = b""
        self.latencies.append(time.perf_counter() - self._sent)
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


async def load(port: int, per_connection: list[list[bytes]]) -> tuple[float, list[float]]:
    """Send everything over so many connections; return wall seconds, and the seconds of each request."""
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda requests=requests: Connection(requests), "127.0.0.1", port))[1]  # type: ignore[misc]
        for requests in per_connection
    ]
    began = time.perf_counter()
    for connection in connections:
        connection.start()
    await asyncio.gather(*(connection.done for connection in connections))
    took = time.perf_counter() - began
    return took, [latency for connection in connections for latency in connection.latencies]


def measure(variant: Variant, requests: int) -> Sample:
    """Run one round: fresh jobs, one for each connection."""
    job_ids = [str(uuid.uuid4()) for _ in range(CONNECTIONS)]
    variant.insert(job_ids)
    each = max(1, requests // CONNECTIONS)
    prepared = [requests_for(job_id, variant.key_of(job_id), range(1, each + 1)) for job_id in job_ids]
    before = variant.server.cpu_seconds()
    took, latencies = asyncio.run(load(variant.server.port, prepared))
    cpu = variant.server.cpu_seconds() - before
    count = len(latencies)
    return Sample(count / took, cpu / count * 1e6, percentile(latencies, 99) * 1e3)


def run(options: Options) -> list[Figure]:
    """Measure all variants in turn."""
    samples = Samples()
    with ExitStack() as stack:
        for variant in alternate(list(_variants(stack)), options.rounds):
            share = 20 if variant.name == USUAL else 1
            sample = measure(variant, options.sizes["requests"] // share)
            samples.add(variant.name, "requests", sample.requests_per_second, "1/s")
            samples.add(variant.name, "server CPU each", sample.cpu_microseconds, "µs")
            samples.add(variant.name, "p99", sample.p99_milliseconds, "ms")
    samples.add_ratios("requests", base=BARE)
    samples.add_ratios("server CPU each", base=BARE, name="CPU, ratio")
    samples.add_ratios("p99", base=BARE)
    return samples.to_figures()


def _variants(stack: ExitStack) -> Iterator[Variant]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
    usual_key = hashlib.sha256(b"usual").digest()
    usual_environment = {
        "BENCH_KEY": "whsec_" + base64.b64encode(usual_key).decode(),
        "BENCH_DATABASE": f"sqlite+aiosqlite:///{folder}/usual.db",
    }
    bare = stack.enter_context(serve_on_own_server("tests.bench.ingest.baseline_apps:Ceiling"))
    yield Variant(BARE, bare, lambda _job_ids: None, attempt_key)
    sqlite = stack.enter_context(serve_framehook(folder / "sqlite", {}))
    yield Variant("Framehook, SQLite", sqlite, sqlite_rows(folder / "sqlite" / "framehook.db"), attempt_key)
    url = stack.enter_context(start_postgresql())
    postgres = stack.enter_context(serve_framehook(folder / "postgresql", {"DATABASE_URL": url}))
    yield Variant("Framehook, PostgreSQL", postgres, postgresql_rows(url), attempt_key)
    usual = stack.enter_context(
        serve("tests.bench.ingest.baseline_apps:usual", environment=usual_environment)
    )
    yield Variant(
        USUAL,
        usual,
        usual_rows(folder / "usual.db"),
        lambda _: usual_key,
    )


BENCHMARK = Benchmark(
    description=f"Signed callbacks over {CONNECTIONS} connections to one server process, beside a bare server and the "
    "usual code.",
    run=run,
    rounds=9,
    sizes={"requests": Size(10_000, smoke=128)},
)
