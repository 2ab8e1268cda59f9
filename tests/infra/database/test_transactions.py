"""Transactions are whole, whatever is cancelled in the middle of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from infra.database.sqlite import SqliteDatabase, sqlite_url

ADD = "INSERT INTO numbers VALUES (:number) RETURNING number"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(sqlite_url(tmp_path / "numbers.db"))
    async with database.transaction() as session:
        await session.execute(text("CREATE TABLE numbers (number INTEGER)"))
    yield database
    await database.close()


async def stored(database: SqliteDatabase) -> list[int]:
    async with database.reading() as session:
        found = await session.execute(text("SELECT number FROM numbers ORDER BY number"))
        return [int(row[0]) for row in found]


async def pair(database: SqliteDatabase, first: int, statement: str = "execute") -> None:
    async with database.transaction() as session:
        for number in (first, first + 1):
            await getattr(session, statement)(text(ADD), {"number": number})


@pytest.mark.parametrize("statement", ["execute", "scalar", "scalars"])
async def test_a_transaction_that_is_cancelled_anywhere_is_whole_and_holds_nobody_up(
    database: SqliteDatabase, statement: str
) -> None:
    kept: list[asyncio.Task[None]] = []  # as a shutdown keeps its tasks, and with them all that they hold
    for turns in range(60):
        writing = asyncio.create_task(pair(database, turns * 10, statement))
        kept.append(writing)
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        async with asyncio.timeout(5):
            await pair(database, turns * 10 + 5)
    found = await stored(database)
    assert [number for number in found if number % 10 == 5] == [turns * 10 + 5 for turns in range(60)]
    assert [number + 1 for number in found if number % 10 == 0] == [
        number for number in found if number % 10 == 1
    ]


async def test_a_transaction_that_fails_leaves_nothing(database: SqliteDatabase) -> None:
    async def failing() -> None:
        async with database.transaction() as session:
            await session.execute(text(ADD), {"number": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await failing()
    assert await stored(database) == []


async def test_nothing_changes_by_reading(database: SqliteDatabase) -> None:
    async with database.reading() as session:
        await session.execute(text("INSERT INTO numbers VALUES (1)"))
    assert await stored(database) == []


async def test_writers_wait_for_each_other(database: SqliteDatabase) -> None:
    await asyncio.gather(*(pair(database, number * 10) for number in range(30)))
    assert len(await stored(database)) == 60
