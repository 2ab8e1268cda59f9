"""PostgreSQL: rows, queue and notifications for any number of replicas."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from infra.database.base import (
    CHANGE_LOG,
    CLOSE_SECONDS,
    POOL_SECONDS,
    BatchConnection,
    BeforeCommit,
    ChangedRow,
    ChangeFeed,
    Dialect,
    no_op_hook,
)
from infra.database.dead_peers import enable_keep_alive, ping_at_checkout, run_while_alive
from infra.database.postgresql_batch import PostgresBatch
from infra.database.sessions import DatabaseTasks, make_session_factory, open_session

T = TypeVar("T")

CHANNEL: Final = "framehook_jobs"
NOTIFY_BYTES: Final = 7_500
"""PostgreSQL takes less than 8,000 bytes in a notification."""
DEADLOCK_TRIES: Final = 5
TRANSIENT_ERRORS: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
CONNECT_SECONDS: Final = 10.0
LISTEN_CONNECT_SECONDS: Final = 3.0
"""Readers wait for it: it is tried again rather than waited for."""
IDLE_IN_TRANSACTION: Final = "10s"
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")

Connection = Any  # asyncpg brings no types


def is_postgresql(url: str) -> bool:
    """Whether a database URL names PostgreSQL."""
    return url.partition(":")[0].partition("+")[0] in ("postgres", "postgresql")


def asyncpg_dsn(url: str) -> str:
    """The URL as the driver reads it: without SQLAlchemy's driver name."""
    scheme, _, rest = url.partition("://")
    return f"postgresql://{rest}" if "+" in scheme or scheme == "postgres" else url


class PostgresDialect:
    """SQL as PostgreSQL spells it."""

    async def lock(self, session: AsyncSession, key: str) -> None:
        """Lock the key until the transaction ends."""
        await session.execute(_LOCK, {"key": key})

    def json_rows(self, parameter: str) -> str:
        """Return a JSON array's strings as a table."""
        return f"json_array_elements_text(CAST({parameter} AS json))"

    def json_array(self, expression: str) -> str:
        """Return the aggregate that makes a JSON array."""
        return f"json_agg({expression})"


POSTGRESQL: Final = PostgresDialect()


class PostgresDatabase:
    """Sessions over SQLAlchemy, batches over asyncpg, and word of what other replicas have changed."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = url
        self._dsn = asyncpg_dsn(url)
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=pool_size,
            pool_timeout=POOL_SECONDS,
        )
        ping_at_checkout(self._engine)
        self._tasks = DatabaseTasks()
        self._sessions = make_session_factory(self._engine, self._tasks, POSTGRESQL)
        self.before_commit: BeforeCommit = no_op_hook
        self._batch_connection: Connection | None = None
        self._batch_lock = asyncio.Lock()
        self.instance = uuid.uuid4().hex[:12]

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's own."""
        return POSTGRESQL

    @property
    def change_feed(self) -> ChangeFeed | None:
        """The database itself, which announces each commit."""
        return self

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session whose changes are not kept."""
        async with open_session(self._sessions) as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose changes are committed at the end of the block, or none of them.

        What `session.info["changed"]` names is told to the other replicas by the same commit.
        """
        async with open_session(self._sessions) as session:
            yield session
            await self.before_commit(session)
            for payload in self._payloads(session.info.pop(CHANGE_LOG, ())):
                await session.execute(
                    text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload}
                )
            await session.commit()

    async def batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        """Run `work` on a connection of the driver as one transaction; after a deadlock it runs again."""
        async with self._batch_lock:
            for _ in range(DEADLOCK_TRIES - 1):
                try:
                    return await self._try_batch(work)
                except TRANSIENT_ERRORS:
                    continue
            return await self._try_batch(work)

    async def _try_batch(self, work: Callable[[BatchConnection], Awaitable[T]]) -> T:
        connection = self._batch_connection
        if connection is None or connection.is_closed():
            connection = self._batch_connection = await self._connect()
        try:
            async with connection.transaction():
                batch = PostgresBatch(connection)
                result = await work(batch)
                for payload in self._payloads(batch.changed_rows):
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        except TRANSIENT_ERRORS:
            raise
        except BaseException:  # cut off or cancelled: the state of the connection is unknown
            connection.terminate()
            self._batch_connection = None
            raise
        return result

    async def listen(
        self, ready: Callable[[], Awaitable[None]], heard: Callable[[Sequence[ChangedRow]], Awaitable[None]]
    ) -> None:
        """Call `heard` with what other replicas changed; returns or raises when the line is lost.

        `ready` is awaited once the line stands and before anything heard is passed on: what changed while nobody
        listened has to be read then.
        """
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        connection = await self._connect(timeout_seconds=LISTEN_CONNECT_SECONDS)
        try:
            connection.add_termination_listener(lambda _: queue.put_nowait(None))
            await connection.add_listener(CHANNEL, lambda *received: queue.put_nowait(str(received[3])))
            await run_while_alive(connection, f"LISTEN {CHANNEL}", self._forward_changes(queue, ready, heard))
        finally:
            connection.terminate()

    async def _forward_changes(
        self,
        queue: "asyncio.Queue[str | None]",
        ready: Callable[[], Awaitable[None]],
        heard: Callable[[Sequence[ChangedRow]], Awaitable[None]],
    ) -> None:
        """Pass on what comes, until the connection ends."""
        await ready()
        while (payload := await queue.get()) is not None:
            instance, _, changed = payload.partition(" ")
            if instance != self.instance:
                await heard([(name, owner) for name, owner in json.loads(changed)])

    async def check(self) -> None:
        """Raise if the database does not answer."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._tasks.finish(within_seconds=CLOSE_SECONDS)
        if self._batch_connection is not None:
            self._batch_connection.terminate()
        with suppress(TimeoutError):  # a connection that is cut off answers no goodbye
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._engine.dispose()

    async def _connect(self, *, timeout_seconds: float = CONNECT_SECONDS) -> Connection:
        """Open a connection. Its settings follow once it stands: poolers refuse most of them at the start."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=timeout_seconds,
            command_timeout=30,
            server_settings={"application_name": "framehook"},
        )
        try:
            enable_keep_alive(connection)
            # A process that stands still keeps its locks for so long, and no longer; no other waits in a transaction.
            await connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}'")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _payloads(self, changed: Iterable[ChangedRow]) -> list[str]:
        """One notification a batch where it fits, more where it does not."""
        found = list(dict.fromkeys(changed))
        if not found:
            return []
        payload = f"{self.instance} {json.dumps(found, separators=(',', ':'))}"
        if len(payload) <= NOTIFY_BYTES:
            return [payload]
        half = len(found) // 2
        return self._payloads(found[:half]) + self._payloads(found[half:])
