"""`make bench-replicas`: latency from a callback to readers on both replicas.

Two replicas share one PostgreSQL. Callbacks go to the first; a reader listens to each. The same callback is
timed to both readers, from before it is sent until its event arrives.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.bench.ingest.rows import postgresql_rows
from tests.bench.ingest.throughput import SECRET, attempt_key, requests_for
from tests.bench.measure.servers import Server, serve_framehook, start_postgresql

PATIENCE_SECONDS = 10.0
WARM_UP = 20


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest.replica_latency", description=__doc__)
    parser.add_argument("--callbacks", type=int, default=500)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
        url = stack.enter_context(start_postgresql())
        first, second = (
            stack.enter_context(serve_framehook(folder / name, {"DATABASE_URL": url}, secret=SECRET))
            for name in ("first", "second")
        )
        job_id = str(uuid.uuid4())
        postgresql_rows(url)([job_id])
        here, there = asyncio.run(measure(first, second, job_id, arguments.callbacks))
    print(
        f"{arguments.callbacks} callbacks, one after the other; from sending one to its event, in milliseconds"
    )
    print(f"{'reader on':34} {'median':>7} {'p99':>7}")
    for name, latencies in (("the replica that latencies it in", here), ("the other replica", there)):
        print(
            f"{name:34} {statistics.median(latencies):7.1f} {statistics.quantiles(latencies, n=100)[98]:7.1f}"
        )


if __name__ == "__main__":
    main()
