"""The time of a callback stage by stage, in one process.

The quickest of many short rounds counts: that is what the code itself takes, undisturbed by the machine. The
time of a batch is shown for each callback in it. A server adds what a bare one takes (see the benchmark
`callbacks`) and the waiting of threads for each other.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import uvloop

from callbacks import envelope, signing
from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service import schema
from service.api.callbacks import Callbacks
from service.clock import Clock
from service.ingest import store
from service.ingest.batch_writer import BatchWriter, OnOutcome
from service.ingest.changes import Applied, Change
from service.jobs.serializers import JobSerializer
from service.metrics.service_metrics import ServiceMetrics
from service.webhooks.outbox import Outbox
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import Insert, postgresql_rows, sqlite_rows
from tests.bench.ingest.throughput import CONNECTIONS, attempt_key, requests_for
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import SECRET, start_postgresql
from tests.support.job_factory import FakeChanges

EACH = 100


def quickest(work: Callable[[], object], tries: int, times: int = EACH) -> float:
    """Return the microseconds of one call."""
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, time.perf_counter() - began)
    return best / times * 1e6


class InstantWriter:
    """Replaces the writer and answers immediately."""

    def enqueue(self, _change: Change, on_outcome: OnOutcome) -> None:
        on_outcome(Applied(1))


def measure_route(raw: bytes, job_id: str, tries: int) -> dict[str, float]:
    """Measure the route alone, from the connection's call to the answer, without the writing."""
    head, _, body = raw.partition(b"\r\n\r\n")
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/api/callbacks/{job_id}",
        "headers": [(name, value) for name, value in pairs],
        "state": {
            "master_keys": (SECRET.encode(),),
            "writer": InstantWriter(),
            "clock": Clock(),
            "metrics": ServiceMetrics(),
        },
    }
    callbacks = Callbacks()

    keys = [signing.derive_attempt_key(SECRET.encode(), job_id, 1)]
    signed = {name.decode(): value.decode() for name, value in pairs}
    now = time.time()
    whole = quickest(lambda: callbacks.handle(scope, body, _drop_response), tries)
    verify = quickest(lambda: signing.verify(keys, signed, body, now=now), tries)
    decode = quickest(lambda: envelope.decode(body), tries)
    return {
        "verify the signature": verify,
        "decode the body": decode,
        "the rest of the route: headers, body, key, answer": whole - verify - decode,
    }


def _drop_response(*_: object) -> None:
    return


def ticks(job_ids: list[str], step: int) -> list[Change]:
    raws = (requests_for(job_id, attempt_key(job_id), range(step, step + 1))[0] for job_id in job_ids)
    callbacks = [envelope.decode(raw.partition(b"\r\n\r\n")[2]) for raw in raws]
    return [Change(callback.type, callback.data, time.time()) for callback in callbacks]


async def measure_writer(database: Database, insert: Insert, tries: int) -> dict[str, float]:
    """Measure the batch writer and its database with batches of as many as there are connections."""
    job_ids = [str(uuid.uuid4()) for _ in range(CONNECTIONS)]
    await asyncio.to_thread(insert, job_ids)
    outbox = Outbox(JobSerializer("http://127.0.0.1"))
    writer = BatchWriter(database, FakeChanges(is_wanted=lambda _job_id, _user_id: False), outbox)
    transaction = whole = float("inf")
    for step in range(1, tries + 1):
        changes = ticks(job_ids, 2 * step)
        began = time.process_time()
        assert all(await store.write_ticks(database, changes))
        transaction = min(transaction, time.process_time() - began)
        waiting = [writer.submit(change) for change in ticks(job_ids, 2 * step + 1)]
        began = time.process_time()
        await writer.drain()
        whole = min(whole, time.process_time() - began)
        assert all(answer.done() for answer in waiting)
    await database.close()
    of_one = 1e6 / CONNECTIONS
    return {
        "a batch in one transaction, as far as it is done here": transaction * of_one,
        "the writer: gather, tell, answer": (whole - transaction) * of_one,
    }


async def measure_callback(url: str, insert: Insert, tries: int) -> dict[str, float]:
    """Measure all stages once."""
    job_id = str(uuid.uuid4())
    (raw,) = requests_for(job_id, attempt_key(job_id), range(1, 2))
    costs = measure_route(raw, job_id, tries) | await measure_writer(open_database(url), insert, tries)
    return costs | {"in all, over a bare server": sum(costs.values())}


def run(options: Options) -> list[Figure]:
    """Measure the stages on both databases."""
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder, start_postgresql() as postgresql:
        path = Path(folder) / "framehook.db"
        databases = {
            "SQLite": (sqlite_url(path), sqlite_rows(path)),
            "PostgreSQL": (postgresql, postgresql_rows(postgresql)),
        }
        for url, _ in databases.values():
            schema.upgrade(url)
        for name, (url, insert) in alternate(list(databases.items()), options.rounds):
            for stage, took in uvloop.run(measure_callback(url, insert, options.sizes["tries"])).items():
                samples.add(stage, name, took, "µs")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description=f"CPU time of our own code in a callback, stage by stage, in batches of {CONNECTIONS}; the best of all "
    "tries of a round.",
    run=run,
    rounds=3,
    sizes={"tries": Size(300, smoke=3)},
)
