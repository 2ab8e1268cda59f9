"""With ten times the finished exports, users and endpoints a database does as much for each statement as before.

Counted is what it does, not how long it takes: SQLite's instructions, and the rows that PostgreSQL reads. The histories
are those of `make bench ARGS=growth`: a few users have many exports and most have one, which misleads planners.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import BatchConnection, Database
from infra.database.factory import open_database
from infra.database.sqlite import SqliteDatabase
from infra.database.sqlite_batch import SqliteBatch
from tests.bench.growth.growth import FILL
from tests.bench.growth.history import ACTIVE
from tests.bench.growth.questions import QUESTIONS, Subject, open_undone_transaction
from tests.service.hot_reads import HOT_READS

pytestmark = pytest.mark.anyio

FEW, MANY = 3_000, 30_000
MOST = 1.2
"""How much more may be done with ten times the rows. A planner may decide to read all active exports, too."""
STEP = 10
"""SQLite counts its instructions in steps of so many."""
ROWS_READ = """
SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_xact_user_tables
"""
WITHOUT_SCANS = "SET LOCAL enable_seqscan = off"
"""For short tables a scan may be the best plan; without it, is there a plan that needs none?"""
T = TypeVar("T")


class CountingDatabase:
    """A database that counts what is done within its transactions; all else is the database's own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def take_count(self) -> int:
        """Return what was counted since the last call."""
        count, self.count = self.count, 0
        return count

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        async with self._database.reading() as session, self._count_session(session):
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        async with self._database.transaction() as session, self._count_session(session):
            yield session

    async def batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        async def count(connection: BatchConnection) -> T:
            if isinstance(connection, SqliteBatch):
                connection._connection.set_progress_handler(self._add_step, STEP)
                result = await work(connection)
                connection._connection.set_progress_handler(None, 0)
                return result
            await connection.fetch(WITHOUT_SCANS)
            before = (await connection.fetch(ROWS_READ))[0][0]
            result = await work(connection)
            self.count += int((await connection.fetch(ROWS_READ))[0][0] - before)
            return result

        return await self._database.batch(count)

    @asynccontextmanager
    async def _count_session(self, session: AsyncSession) -> AsyncIterator[None]:
        if isinstance(self._database, SqliteDatabase):
            raw = await (await session.connection()).get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.set_progress_handler(self._add_step, STEP)
            try:
                yield
            finally:
                await driver.set_progress_handler(None, 0)
            return
        await session.execute(text(WITHOUT_SCANS))
        before = (await session.execute(text(ROWS_READ))).scalar_one()
        try:
            yield
        finally:
            self.count += int((await session.execute(text(ROWS_READ))).scalar_one() - before)

    def _add_step(self) -> None:
        self.count += STEP


@pytest.fixture(scope="module", params=FILL)
async def urls(request: pytest.FixtureRequest) -> AsyncIterator[list[str]]:
    """Databases of the same kind with a short and with a long history."""
    async with FILL[request.param]([FEW, MANY]) as urls:
        yield list(urls.values())


async def _count_questions(url: str) -> dict[str, int]:
    database: Any = CountingDatabase(open_database(url))
    subject, counts = Subject(database), {}
    for name, (question, _) in QUESTIONS.items():
        await question(subject)
        counts[name] = database.take_count()
    for name, read in HOT_READS.items():
        async with open_undone_transaction(database) as session:
            await read(session)
        counts[name] = database.take_count()
    await database.close()
    return counts


async def test_ten_times_the_rows_cost_no_statement_more(urls: list[str]) -> None:
    few, many = [await _count_questions(url) for url in urls]
    grown = {name: (few[name], count) for name, count in many.items() if count > MOST * few[name] + ACTIVE}
    assert grown == {}
    assert any(many.values())
