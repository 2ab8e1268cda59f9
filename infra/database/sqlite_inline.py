"""Connections to SQLite for SQLAlchemy whose statements run in the event loop.

`aiosqlite` hands each step of a statement to a thread and back, which takes several times as long as a statement that
reads or writes a few rows. These classes are what SQLAlchemy's dialect for `aiosqlite` uses of it, without the thread;
only the commit, which waits for the disk, runs in one.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

BUSY_TIMEOUT_SECONDS: Final = 10.0
BUSY_PAUSE_SECONDS: Final = 0.01

T = TypeVar("T")


async def retry_while_busy(run: Callable[[], T]) -> T:
    """Run again what another process, which has SQLite's write lock for a moment, does not let run.

    The connection must not wait by itself: the event loop would wait with it.
    """
    deadline = asyncio.get_running_loop().time() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return run()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(BUSY_PAUSE_SECONDS)


class InlineConnection:
    """A connection that is used in the event loop."""

    def __init__(self, connection: sqlite3.Connection, executor: Executor) -> None:
        """Commit in a thread of `executor`."""
        self._connection = connection
        self._executor = executor

    def cursor(self) -> "InlineCursor":
        return InlineCursor(self._connection.cursor())

    async def create_function(self, *arguments: Any, **options: Any) -> None:
        self._connection.create_function(*arguments, **options)

    async def commit(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.commit)

    async def rollback(self) -> None:
        self._connection.rollback()

    async def close(self) -> None:
        self._connection.close()

    def stop(self) -> None:
        self._connection.close()


class InlineCursor:
    """A cursor of such a connection."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def __aenter__(self) -> "InlineCursor":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    async def execute(self, statement: str, values: Any = ()) -> None:
        await retry_while_busy(lambda: self._cursor.execute(statement, values))

    async def executemany(self, statement: str, rows: Sequence[Any]) -> None:
        self._cursor.executemany(statement, rows)  # within a transaction, which has the lock

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()
