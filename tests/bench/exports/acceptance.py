"""How many exports a second are accepted: checked and committed, and answered after that.

The only run is stopped, so the service does nothing else.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.exports.latency import LOOK_SECONDS, open_service
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import start_postgresql
from tests.bench.measure.submissions import CONNECTIONS, submit_exports
from tests.bench.video.peers import prepare_film
from tests.support.workers.processes import find_lock_holders

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


def measure(folder: Path, film: Path, count: int, settings: Mapping[str, str]) -> tuple[float, float]:
    """Return the seconds and the server's CPU seconds that accepting so many exports takes."""
    limits = {"LOCAL_WORKERS": "1", "MAX_ACTIVE_PER_USER": "1", "MAX_QUEUED_PER_USER": str(2 * count)}
    with open_service(folder, film, 1, **limits, **settings) as service:
        url = f"http://127.0.0.1:{service.server.port}"
        body = {"type": "framing", "config": service.config}
        asyncio.run(submit_exports(url, body, 1))
        while not (runs := find_lock_holders(lambda scratch: scratch.is_relative_to(folder))):
            time.sleep(LOOK_SECONDS)
        os.kill(runs[0], signal.SIGSTOP)
        began, cpu_seconds = time.perf_counter(), service.server.cpu_seconds()
        asyncio.run(submit_exports(url, body, count))
        return time.perf_counter() - began, service.server.cpu_seconds() - cpu_seconds


def run(options: Options) -> list[Figure]:
    """Measure with both databases in turn, with a new service each time."""
    count, samples = options.sizes["exports"], Samples()
    film = prepare_film(1, height=720)
    for database in alternate((SQLITE, POSTGRESQL), options.rounds):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
            is_sqlite = database == SQLITE
            settings = {} if is_sqlite else {"DATABASE_URL": stack.enter_context(start_postgresql())}
            seconds, cpu_seconds = measure(folder, film, count, settings)
        samples.add(database, "accepted", count / seconds, "1/s")
        samples.add(database, "server CPU each", cpu_seconds / count * 1e3, "ms")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description=f"Exports that a service accepts from {CONNECTIONS} connections, each committed before its answer.",
    run=run,
    rounds=3,
    sizes={"exports": Size(300, smoke=5)},
)
