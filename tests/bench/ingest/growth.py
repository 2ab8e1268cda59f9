"""`make bench-growth`: costs with a million finished exports and with ten thousand.

Two databases of each kind that differ only in their history run the same statements alternately, by the
service's own code and without the network. Costs are medians of wall time; the last column is the ratio of the
lower quartiles, which other work on the machine disturbs less.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from callbacks.envelope import EventType, Phase, Report
from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service import schema
from service.ingest import store
from service.ingest.changes import Applied, Change
from service.jobs import leases, queries
from service.webhooks.due_query import select_due
from tests.bench.ingest.history import ACTIVE, fill_postgresql, fill_sqlite
from tests.bench.measure.servers import start_postgresql

FEW, MANY = 10_000, 1_000_000
USER = "user-3"
PLACES = 8


@dataclass
class Subject:
    """One database under measurement, and how far its jobs have come."""

    database: Database
    step: int = 0


Question = Callable[[Subject], Awaitable[object]]


def callbacks(of: int) -> Question:
    """Apply progress callbacks, each of another job, in one transaction."""

    async def write(subject: Subject) -> None:
        subject.step += 1
        outcomes = await store.write(subject.database, [_tick(2 * n, subject.step) for n in range(1, of + 1)])
        assert all(isinstance(outcome, Applied) for outcome in outcomes)

    return write


def _tick(number: int, step: int) -> Change:
    report = Report(
        job_id=f"active-{number:012d}",
        attempt=1,
        step=step,
        call_id=f"fc-{number}",
        phase=Phase.PROCESSING,
        progress=50,
        message="Frame 120 of 240",
    )
    return Change(EventType.PROGRESS, report, time.time())


async def claim(subject: Subject) -> None:
    """Lease as many waiting jobs as a dispatcher would, and release them."""
    async with subject.database.transaction() as session:
        rows = await leases.claim(session, slots=PLACES, per_user=20, lease_seconds=30, now=time.time())
        assert len(rows) == PLACES
        await session.rollback()


async def watch(subject: Subject) -> None:
    """Run what every replica queries every few seconds."""
    async with subject.database.transaction() as session:
        await leases.list_watched(session)
        await leases.end_long_pauses(session, now=time.time())
        await leases.list_unchanged(session, [])


def read(ask: Callable[..., Awaitable[object]], *arguments: object, **options: object) -> Question:
    async def question(subject: Subject) -> None:
        async with subject.database.reading() as session:
            await ask(session, *arguments, **options)

    return question


QUESTIONS: dict[str, tuple[Question, int]] = {
    "callback, one alone": (callbacks(1), 1),
    "callback, of a batch of 64": (callbacks(64), 64),
    "active list": (read(queries.list_active, USER), 1),
    f"claim of {PLACES}": (claim, 1),
    "first page of the list": (
        read(queries.list_page, USER, before=None, limit=50),
        1,
    ),
    "unacknowledged": (read(queries.list_unacknowledged, "user-1"), 1),
    "quota of a user": (read(queries.count_active, USER), 1),
    "watch over silent attempts": (watch, 1),
    "webhooks that are due": (read(select_due, each=4, in_flight_here=[], now=4e9), 1),
}


async def time_alternately(few: Subject, many: Subject, question: Question, rounds: int) -> list[list[float]]:
    """Return seconds, measured in the order A B B A A B, so that neither always comes second."""
    took: list[list[float]] = [[], []]
    for number in range(rounds):
        turns = list(zip((few, many), took, strict=True))
        for subject, times in reversed(turns) if number % 2 else turns:
            began = time.perf_counter()
            await question(subject)
            times.append(time.perf_counter() - began)
    return [times[rounds // 5 :] for times in took]  # the first ones warm up


@asynccontextmanager
async def sqlite_pair(many: int) -> AsyncIterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory(prefix="framehook-growth-") as folder:
        urls = []
        for finished in (FEW, many):
            path = Path(folder) / f"{finished}.db"
            urls.append(sqlite_url(path))
            await asyncio.to_thread(schema.upgrade, urls[-1])
            await asyncio.to_thread(fill_sqlite, path, finished, time.time())
        yield urls[0], urls[1]


@asynccontextmanager
async def postgresql_pair(many: int) -> AsyncIterator[tuple[str, str]]:
    with start_postgresql() as server:
        urls = []
        connection = await asyncpg.connect(server)
        for finished in (FEW, many):
            await connection.execute(f"CREATE DATABASE of_{finished}")
            urls.append(server.replace("/postgres?", f"/of_{finished}?"))
            await asyncio.to_thread(schema.upgrade, urls[-1])
            await fill_postgresql(urls[-1], finished, time.time())
        await connection.close()
        yield urls[0], urls[1]


async def measure(name: str, urls: tuple[str, str], rounds: int) -> None:
    few, many = (Subject(open_database(url)) for url in urls)
    for title, (question, units) in QUESTIONS.items():
        took = await time_alternately(few, many, question, rounds)
        quick, usual, _ = zip(*(statistics.quantiles(times, n=4) for times in took), strict=True)
        costs = f"{usual[0] / units * 1e6:9.0f} {usual[1] / units * 1e6:9.0f} {usual[1] / usual[0]:6.2f}"
        costs += f" {quick[1] / quick[0]:9.2f}"
        print(f"{name:10} {title:28} {costs}", flush=True)
    await few.database.close()
    await many.database.close()


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ingest.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--many", type=int, default=MANY, help="finished exports in the larger database")
    arguments = parser.parse_args()
    print(f"{ACTIVE} active exports; finished ones: {FEW:,} and {arguments.many:,}; microseconds, medians")
    print(f"{'database':10} {'':28} {'few':>9} {'many':>9} {'ratio':>6} {'quartile':>9}")
    for name, pair in (("SQLite", sqlite_pair), ("PostgreSQL", postgresql_pair)):
        began = time.monotonic()
        async with pair(arguments.many) as urls:
            print(f"{name}: filled in {time.monotonic() - began:.0f} s", flush=True)
            await measure(name, urls, arguments.rounds)


if __name__ == "__main__":
    asyncio.run(main())
