"""Database sessions that a cancellation can't leak: everything that uses a connection runs in a separate task.

A cancelled statement keeps its cursor open, and with it SQLite's write lock. A session that is closed while a
statement runs keeps its connection, which the pool lacks until the garbage collector finds it. anyio cancels a task
repeatedly until it ends, so shielding against one cancellation is not enough.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import Result
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

from infra.database.base import DIALECT, Dialect

T = TypeVar("T")

SETTLE_SECONDS = 2.0


class DatabaseTasks:
    """Tasks that run to their end even if their caller is cancelled."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()  # the event loop itself keeps only weak references

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` as a task; the caller must not cancel it."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`, which continues if the caller is cancelled."""
        return await wait_for_task(self.start(work))

    async def finish(self) -> None:
        """Wait until no task runs."""
        while self._running:
            await asyncio.wait(list(self._running))


async def wait_for_task(task: asyncio.Task[T]) -> T:
    """Return the result of a task that continues if the caller is cancelled.

    A cancelled caller leaves when the task has ended, so that the state is known; after a second cancellation, or
    after SETTLE_SECONDS, it leaves immediately.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=SETTLE_SECONDS)
        raise


class ShieldedSession(AsyncSession):
    """A session whose statements run to their end even if the caller is cancelled."""

    def __init__(self, *args: Any, tasks: DatabaseTasks, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tasks = tasks
        self._statement: asyncio.Task[Any] | None = None

    async def execute(self, *args: Any, **options: Any) -> Result[Any]:
        return await self._run_shielded(super().execute(*args, **options))

    async def get(self, *args: Any, **options: Any) -> Any:
        return await self._run_shielded(super().get(*args, **options))

    async def scalar(self, *args: Any, **options: Any) -> Any:
        return await self._run_shielded(super().scalar(*args, **options))

    async def scalars(self, *args: Any, **options: Any) -> Any:
        return await self._run_shielded(super().scalars(*args, **options))

    async def connection(self, *args: Any, **options: Any) -> AsyncConnection:
        return await self._run_shielded(super().connection(*args, **options))

    async def flush(self, *args: Any, **options: Any) -> None:
        await self._run_shielded(super().flush(*args, **options))

    async def commit(self) -> None:
        await self._run_shielded(super().commit())

    async def rollback(self) -> None:
        await self._run_shielded(super().rollback())

    async def close(self) -> None:
        """Return the connection to the pool when the running statement has ended."""
        await self.end(self.close_when_idle())

    async def end(self, closing: Coroutine[Any, Any, None]) -> None:
        """Run `closing`; do not wait for it if a cancelled caller has left a statement that still runs.

        On a connection that is dead without a word, the statement ends with its time-out only.
        """
        is_running = self._statement is not None and not self._statement.done()
        task = self._tasks.start(closing)
        if not is_running:
            await wait_for_task(task)

    async def close_when_idle(self) -> None:
        """Wait until the running statement has ended, and return the connection to the pool."""
        if self._statement is not None:
            await asyncio.wait([self._statement])
        await super().close()

    async def _run_shielded(self, statement: Coroutine[Any, Any, T]) -> T:
        task = self._statement = self._tasks.start(statement)
        return await wait_for_task(task)


def make_session_factory(
    engine: AsyncEngine, tasks: DatabaseTasks, dialect: Dialect
) -> async_sessionmaker[ShieldedSession]:
    """Return the factory of sessions on an engine, whose statements run among `tasks`."""
    return async_sessionmaker(
        engine, class_=ShieldedSession, expire_on_commit=False, tasks=tasks, info={DIALECT: dialect}
    )


@asynccontextmanager
async def open_session(make_session: async_sessionmaker[ShieldedSession]) -> AsyncIterator[ShieldedSession]:
    """Open a session and close it after the block; what was not committed is rolled back."""
    session = make_session()
    try:
        yield session
    finally:
        await session.close()
