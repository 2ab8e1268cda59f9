"""Latency from a callback to readers on both replicas.

Two replicas share one PostgreSQL. Callbacks go to the first; a reader listens to each. The same callback is
timed to both readers, from before it is sent until its event arrives.
"""

import asyncio
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import postgresql_rows
from tests.bench.ingest.throughput import attempt_key, requests_for
from tests.bench.measure.samples import Samples, percentile
from tests.bench.measure.servers import Server, serve_framehook, start_postgresql

PATIENCE_SECONDS = 10.0
WARM_UP = 20
HERE, THERE = "reader on the replica that took the callback", "reader on the other replica"


class Reader:
    """An open SSE stream, and when each sequence arrived."""

    def __init__(self, client: httpx.AsyncClient, server: Server, job_id: str) -> None:
        self._client = client
        self._url = f"http://127.0.0.1:{server.port}/api/exports/{job_id}/events"
        self._came: dict[int, float] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        async with self._client.stream("GET", self._url) as response:
            async for line in response.aiter_lines():
                if line.startswith("id: "):
                    self._came[int(line[4:])] = time.perf_counter()
                    self._news.set()

    async def wait_for(self, sequence: int) -> float:
        """Return when the sequence arrived."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sequence not in self._came:
                self._news.clear()
                await self._news.wait()
        return self._came[sequence]


async def measure(
    first: Server, second: Server, job_id: str, callbacks: int
) -> tuple[list[float], list[float]]:
    """Return milliseconds to the reader on the same replica and to the one on the other."""
    async with httpx.AsyncClient(trust_env=False, timeout=None) as client, asyncio.TaskGroup() as group:  # noqa: S113
        here, there = (Reader(client, server, job_id) for server in (first, second))
        reading = [group.create_task(reader.run()) for reader in (here, there)]
        await here.wait_for(1)
        await there.wait_for(1)
        times: tuple[list[float], list[float]] = ([], [])
        for request in requests_for(job_id, attempt_key(job_id), range(1, callbacks + WARM_UP + 1)):
            began = time.perf_counter()
            sequence = await _post(first, request)
            for reader, latencies in zip((here, there), times, strict=True):
                latencies.append((await reader.wait_for(sequence) - began) * 1e3)
        for task in reading:
            task.cancel()
    return times[0][WARM_UP:], times[1][WARM_UP:]


async def _post(server: Server, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    answer = await reader.readuntil(b"}")
    writer.close()
    return int(answer.removeprefix(b'{"sequence":').removesuffix(b"}"))


def run(options: Options) -> list[Figure]:
    """Measure with a new export in each round."""
    samples = Samples()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        url = stack.enter_context(start_postgresql())
        first, second = (
            stack.enter_context(serve_framehook(folder / name, {"DATABASE_URL": url}))
            for name in ("first", "second")
        )
        for _ in range(options.rounds):
            job_id = str(uuid.uuid4())
            postgresql_rows(url)([job_id])
            times = asyncio.run(measure(first, second, job_id, options.sizes["callbacks"]))
            for place, latencies in zip((HERE, THERE), times, strict=True):
                samples.add(place, "median", percentile(latencies, 50), "ms")
                samples.add(place, "p99", percentile(latencies, 99), "ms")
    samples.add_ratios("median", base=HERE)
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="Time from sending a callback to its event at readers on the same and on another replica, one "
    "callback after the other.",
    run=run,
    sizes={"callbacks": Size(200, smoke=3)},
)
