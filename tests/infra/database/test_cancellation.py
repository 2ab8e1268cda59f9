"""A cancellation, wherever and however often it comes, never loses a connection and never splits a transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from infra.database.postgresql import Database, PostgresDatabase, open_database
from infra.database.sqlite import sqlite_url
from tests.support.cancellation import MOST_SUSPENSIONS, cancel_everywhere

CONNECTIONS = 20
"""More than either pool has."""
ONCE_TWICE_ALWAYS = pytest.mark.parametrize(
    "times", [1, 2, MOST_SUSPENSIONS], ids=["once", "twice", "always"]
)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    sqlite = request.param == "sqlite"
    url = sqlite_url(tmp_path / "n.db") if sqlite else request.getfixturevalue("postgresql_url")
    database = open_database(url)
    async with database.transaction() as session:
        await session.execute(text("DROP TABLE IF EXISTS numbers"))
        await session.execute(text("CREATE TABLE numbers (number INTEGER)"))
    yield database
    async with database.transaction() as session:
        await session.execute(text("DROP TABLE numbers"))
    await database.close()


async def read_twice(database: Database) -> list[int]:
    async with database.reading() as session:
        await session.execute(text("SELECT count(*) FROM numbers"))
        return list(await session.scalars(text("SELECT number FROM numbers")))


async def write_pair(database: Database) -> None:
    async with database.transaction() as session:
        for number in (1, 2):
            await session.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


async def write_pair_as_batch(database: Database) -> None:
    def in_sqlite(connection: object) -> None:
        for number in (1, 2):
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))  # type: ignore[attr-defined]

    async def in_postgresql(connection: object) -> tuple[None, list[tuple[str, str]]]:
        for number in (1, 2):
            await connection.execute("INSERT INTO numbers VALUES ($1)", number)  # type: ignore[attr-defined]
        return None, []

    if isinstance(database, PostgresDatabase):
        await database.batch(in_postgresql)
    else:
        await database.batch(in_sqlite)


async def check_all_connections(database: Database) -> None:
    """As many reads as there are connections, each holding one until all have one; and a write."""
    all_read = asyncio.Barrier(8)

    async def read() -> None:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
            await all_read.wait()

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(read())
        group.create_task(write_pair(database))


@ONCE_TWICE_ALWAYS
@pytest.mark.parametrize(
    "work", [read_twice, write_pair, write_pair_as_batch], ids=["a read", "a transaction", "a batch"]
)
async def test_work_that_is_cancelled_at_any_await_gives_its_connection_back(
    database: Database, work: Callable[[Database], Awaitable[object]], times: int
) -> None:
    for _ in range(CONNECTIONS):
        await cancel_everywhere(lambda: work(database), times)
    await check_all_connections(database)
    found = await read_twice(database)
    assert found.count(1) == found.count(2), "a transaction was committed by half"


@ONCE_TWICE_ALWAYS
async def test_a_connection_that_is_still_being_opened_is_not_lost_to_who_leaves(
    sqlite_url: str, times: int
) -> None:
    for _ in range(3):
        database = open_database(sqlite_url)

        async def read(database: Database = database) -> None:
            async with database.reading() as session:
                await session.execute(text("SELECT 1"))

        await cancel_everywhere(read, times)
        await read()
        await database.close()


async def test_closing_waits_for_what_its_caller_has_left(database: Database) -> None:
    tasks = asyncio.all_tasks()
    await cancel_everywhere(lambda: write_pair(database), MOST_SUSPENSIONS)
    await database.close()
    assert asyncio.all_tasks() <= tasks
