"""What everything costs by the number of exports, users and endpoints, on both databases.

Databases that differ only in their size do the same in turn, by the service's own code and without the network. A cost
is CPU time, of this process and of PostgreSQL, in the best series: other work on the machine takes the caches.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service import schema
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.growth.history import ACTIVE, fill_postgresql, fill_sqlite
from tests.bench.growth.questions import QUESTIONS, Question, Subject
from tests.bench.growth.sizes import add_growth, list_sizes
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import list_tree, read_cpu_seconds, start_postgresql

BLOCKS = 5


def read_cpu(url: str) -> float:
    """Return the CPU seconds so far of this process, and of PostgreSQL if that is the database."""
    folder = make_url(url).query.get("host")
    if folder is None:
        return time.process_time()
    postmaster = int((Path(str(folder)) / "postmaster.pid").read_text().split()[0])
    return time.process_time() + sum(map(read_cpu_seconds, list_tree(postmaster)))


async def measure_in_turn(
    subjects: Mapping[int, Subject], question: Question, repetitions: int
) -> dict[int, float]:
    """Return the CPU seconds that the question takes at each size, in the best of BLOCKS series."""
    costs = dict.fromkeys(subjects, math.inf)
    for size in alternate(list(subjects), BLOCKS):
        url = subjects[size].database.url
        began = read_cpu(url)
        for _ in range(repetitions):
            await question(subjects[size])
        costs[size] = min(costs[size], (read_cpu(url) - began) / repetitions)
    return costs


async def measure_database(
    samples: Samples, database: str, subjects: Mapping[int, Subject], options: Options
) -> None:
    """Measure every question, and compare each size with the one before."""
    for question, _ in QUESTIONS.values():  # warm up
        for subject in subjects.values():
            await question(subject)
    for title, (question, units) in alternate(list(QUESTIONS.items()), options.rounds):
        took = await measure_in_turn(subjects, question, options.sizes["repetitions"])
        costs = {size: seconds / units * 1e6 for size, seconds in took.items()}
        add_growth(samples, f"{database}: {title}", costs)


@asynccontextmanager
async def fill_sqlite_files(sizes: list[int]) -> AsyncIterator[dict[int, str]]:
    """Create a file of each size; yield their URLs."""
    with tempfile.TemporaryDirectory(prefix="framehook-growth-") as folder:
        urls = {}
        for size in sizes:
            path = Path(folder) / f"{size}.db"
            urls[size] = sqlite_url(path)
            await asyncio.to_thread(schema.upgrade, urls[size])
            await asyncio.to_thread(fill_sqlite, path, size, time.time())
        yield urls


@asynccontextmanager
async def fill_postgresql_databases(sizes: list[int]) -> AsyncIterator[dict[int, str]]:
    """Create a database of each size on one server; yield their URLs."""
    with start_postgresql() as server:
        urls = {}
        connection = await asyncpg.connect(server)
        for size in sizes:
            await connection.execute(f"CREATE DATABASE of_{size}")
            urls[size] = server.replace("/postgres?", f"/of_{size}?")
            await asyncio.to_thread(schema.upgrade, urls[size])
            await fill_postgresql(urls[size], size, time.time())
        await connection.close()
        yield urls


FILL = {"SQLite": fill_sqlite_files, "PostgreSQL": fill_postgresql_databases}


async def measure(options: Options) -> list[Figure]:
    """Fill the databases of one kind after the other, and measure."""
    samples = Samples()
    sizes = list_sizes(options.sizes["rows"])
    for name, fill in FILL.items():
        began = time.monotonic()
        async with fill(sizes) as urls, AsyncExitStack() as stack:
            print(f"{name}: filled in {time.monotonic() - began:.0f} s", flush=True)
            subjects = {}
            for size, url in urls.items():
                subjects[size] = Subject(open_database(url))
                stack.push_async_callback(subjects[size].database.close)
            await measure_database(samples, name, subjects, options)
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="CPU time of a unit by the number of finished exports, with as many users and endpoints, and "
    f"{ACTIVE} active exports.",
    run=lambda options: asyncio.run(measure(options)),
    rounds=3,
    sizes={"rows": Size(10_000, smoke=100), "repetitions": Size(10, smoke=1)},
)
