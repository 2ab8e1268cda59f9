"""A SQLite file: `transaction()` for SQLAlchemy, `batch()` for SQL on the driver itself.

SQLite has one writer at a time. A lock in the process queues the writers fairly, so that none of them waits in
SQLite's own busy timeout, which sleeps and polls.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from infra.database.base import (
    CHANGE_LOG,
    CLOSE_SECONDS,
    POOL_SECONDS,
    BatchConnection,
    BeforeCommit,
    ChangeFeed,
    Dialect,
    Row,
    StagedTable,
    no_op_hook,
)
from infra.database.dialects import SQLITE
from infra.database.sessions import DatabaseTasks, ShieldedSession, make_session_factory, open_session
from infra.database.sqlite_batch import SqliteBatch
from infra.database.sqlite_inline import BUSY_TIMEOUT_SECONDS, InlineConnection, retry_while_busy

T = TypeVar("T")

LOG_TIMEOUT_SECONDS = 2.0
"""How long readers may keep the log from being emptied; writers wait as long."""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "secure_delete=ON",  # what is deleted or replaced is overwritten with zeros; VACUUM would copy the whole file
)


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite database in a file."""
    return URL.create("sqlite+aiosqlite", database=str(path.absolute())).render_as_string()


def sqlite_path(url: str) -> Path:
    """Return the file that a SQLite URL names."""
    return Path(make_url(url).database or "")


class SqliteDatabase:
    """A SQLite database: sessions with SQLAlchemy, batches on the driver itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise ValueError("DATABASE_URL must be a SQLite file: sqlite+aiosqlite:///path/to/framehook.db")
        self._path = parsed.database
        self._reader = _engine(url, "BEGIN")
        self._writer = _engine(url, "BEGIN IMMEDIATE", pool_size=1)
        self._inline_writer = _engine(url, "BEGIN IMMEDIATE", pool_size=1, async_creator=self._connect_inline)
        self._tasks = DatabaseTasks()
        self._read_sessions = make_session_factory(self._reader, self._tasks, SQLITE)
        self._write_sessions = make_session_factory(self._writer, self._tasks, SQLITE)
        self._inline_sessions = make_session_factory(self._inline_writer, self._tasks, SQLITE)
        self.before_commit: BeforeCommit = no_op_hook
        self._write_lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection: sqlite3.Connection | None = None
        self._reading_connection: sqlite3.Connection | None = None

    @property
    def dialect(self) -> Dialect:
        """The dialect of SQLite."""
        return SQLITE

    @property
    def change_feed(self) -> ChangeFeed | None:
        """None: a single process owns the file."""
        return None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session on a consistent snapshot; its changes are discarded."""
        async with open_session(self._read_sessions) as session:
            yield session

    @asynccontextmanager
    async def transaction(self, *, is_short: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a session that commits all of its changes at the end of the block, or none."""
        await self._write_lock.acquire()
        session = self._inline_sessions() if is_short else self._write_sessions()
        try:
            yield session
            await self.before_commit(session)
            session.info.pop(CHANGE_LOG, None)  # there are no other replicas
            await session.commit()
        finally:
            await session.end(self._end_transaction(session))

    async def batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        """Run `work` on the driver's connection as one transaction and return its result.

        The statements run in the event loop: they are short, and a thread would wait for the interpreter's lock at
        each of them. Only the commit, which waits for the disk, runs in a thread.
        """
        await self._write_lock.acquire()
        try:
            connection = self._connection = self._connection or self._connect()
            await retry_while_busy(lambda: connection.execute("BEGIN IMMEDIATE"))
            result = await _run_or_roll_back(work, connection)
        except BaseException:
            self._write_lock.release()
            raise
        await self._tasks.run(self._commit_batch(connection))
        return result

    async def reclaim(self, tables: Sequence[str]) -> bool:
        """Write the log (WAL) into the file and empty it; False while a reader still needs it.

        Deleted rows are overwritten in the file, so only the log still has them.
        """
        del tables
        async with self._write_lock:
            return await self._tasks.run(asyncio.to_thread(_empty_log, self._path))

    async def update(
        self, table: StagedTable, rows: Sequence[msgspec.Struct], statement: str
    ) -> Sequence[Sequence[Any]]:
        """Run one statement on staged rows, as a transaction of its own."""

        async def run(connection: BatchConnection) -> Sequence[Sequence[Any]]:
            return await (await connection.stage(table, rows)).fetch(statement)

        return await self.batch(run)

    async def fetch(self, statement: str, values: Mapping[str, object]) -> Sequence[Row]:
        """Read what is committed; another connection than that of batches sees no more."""
        connection = self._reading_connection = self._reading_connection or self._connect()
        return connection.execute(statement, values).fetchall()

    async def check(self) -> None:
        """Raise if the database does not answer."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tasks.finish(), CLOSE_SECONDS)
        await self._reader.dispose()
        await self._writer.dispose()
        await self._inline_writer.dispose()
        self._thread.shutdown()
        for connection in (self._connection, self._reading_connection):
            if connection is not None:
                connection.close()

    async def _end_transaction(self, session: ShieldedSession) -> None:
        """Close the session, which rolls back what is not committed, and then release the write lock."""
        try:
            await session.close_when_idle()
        finally:
            self._write_lock.release()

    async def _commit_batch(self, connection: sqlite3.Connection) -> None:
        """Commit in a thread, and release the write lock when that has ended."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.commit)
        except BaseException:
            connection.rollback()
            raise
        finally:
            self._write_lock.release()

    async def _connect_inline(self, *_arguments: object, **_options: object) -> InlineConnection:
        connection = self._connect()
        connection.row_factory = None  # SQLAlchemy has rows of its own
        return InlineConnection(connection, self._thread)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA busy_timeout = 0")  # the event loop must not wait in SQLite
        connection.row_factory = sqlite3.Row
        return connection


async def _run_or_roll_back(
    work: Callable[[BatchConnection], Awaitable[T]], connection: sqlite3.Connection
) -> T:
    try:
        return await work(SqliteBatch(connection))
    except BaseException:
        connection.rollback()
        raise


def _empty_log(path: str) -> bool:
    connection = sqlite3.connect(path, timeout=LOG_TIMEOUT_SECONDS)
    try:
        is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    finally:
        connection.close()
    return not is_busy


def _engine(url: str, begin: str, **options: Any) -> AsyncEngine:
    engine = create_async_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_timeout=POOL_SECONDS, **options
    )

    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver begins transactions by itself, and later than it should; SQLAlchemy documents how to turn that off.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if "async_creator" not in options:  # it returns connections that are ready
        event.listen(engine.sync_engine, "connect", on_connect)

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: object) -> None:
        connection.exec_driver_sql(begin)  # type: ignore[attr-defined]

    return engine
