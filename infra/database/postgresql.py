"""A PostgreSQL database, shared by any number of replicas."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
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
    Row,
    StagedTable,
    no_op_hook,
)
from infra.database.dead_peers import enable_keep_alive, ping_at_checkout, run_while_alive
from infra.database.dialects import POSTGRESQL
from infra.database.postgresql_batch import NOTIFY_BYTES, PostgresBatch, update_and_announce
from infra.database.sessions import DatabaseTasks, make_session_factory, open_session

T = TypeVar("T")

CHANNEL: Final = "framehook_jobs"
DEADLOCK_TRIES: Final = 5
TRANSIENT_ERRORS: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
CONNECT_SECONDS: Final = 10.0
LISTEN_CONNECT_SECONDS: Final = 3.0
"""Short, since subscribers wait for it; a failed connection is tried again."""
VACUUM_SECONDS: Final = 600.0
IDLE_IN_TRANSACTION: Final = "10s"

Connection = Any  # asyncpg has no types


def is_postgresql(url: str) -> bool:
    """Tell whether a database URL names PostgreSQL."""
    return url.partition(":")[0].partition("+")[0] in ("postgres", "postgresql")


def asyncpg_dsn(url: str) -> str:
    """Return the URL as asyncpg reads it: without SQLAlchemy's driver name."""
    scheme, _, rest = url.partition("://")
    return f"postgresql://{rest}" if "+" in scheme or scheme == "postgres" else url


class PostgresDatabase:
    """Sessions with SQLAlchemy, batches on asyncpg, and announcements between replicas."""

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
        # All statements of a reading session see the same commits; its BEGIN says so, without another exchange.
        snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self._read_sessions = make_session_factory(snapshots, self._tasks, POSTGRESQL)
        self.before_commit: BeforeCommit = no_op_hook
        self._batch_connection: Connection | None = None
        self._batch_lock = asyncio.Lock()
        self.instance = uuid.uuid4().hex[:12]

    @property
    def dialect(self) -> Dialect:
        """The dialect of PostgreSQL."""
        return POSTGRESQL

    @property
    def change_feed(self) -> ChangeFeed | None:
        """The database itself, which announces each commit."""
        return self

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session on a consistent snapshot; its changes are discarded."""
        async with open_session(self._read_sessions) as session:
            yield session

    @asynccontextmanager
    async def transaction(self, *, is_short: bool = False) -> AsyncIterator[AsyncSession]:
        """Open a session that commits all of its changes at the end of the block, or none.

        The same commit announces the rows in `session.info[CHANGE_LOG]` to the other replicas.
        """
        del is_short  # statements never block the event loop
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

        async def run(connection: Connection) -> T:
            async with connection.transaction():
                batch = PostgresBatch(connection)
                result = await work(batch)
                for payload in self._payloads(batch.changed_rows):
                    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            return result

        return await self._run_on_driver(run)

    async def update(
        self, table: StagedTable, rows: Sequence[msgspec.Struct], statement: str
    ) -> Sequence[Sequence[Any]]:
        """Run one statement on staged rows; it commits and announces in the same exchange with the server."""
        return await self._run_on_driver(
            lambda connection: update_and_announce(
                connection, table, rows, statement, channel=CHANNEL, sender=self.instance
            )
        )

    async def fetch(self, statement: str, values: Mapping[str, object]) -> Sequence[Row]:
        """Read what is committed."""
        return await self._run_on_driver(
            lambda connection: PostgresBatch(connection).fetch(statement, values)
        )

    async def _run_on_driver(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._batch_lock:
            for _ in range(DEADLOCK_TRIES - 1):
                try:
                    return await self._try_on_driver(work)
                except TRANSIENT_ERRORS:
                    continue
            return await self._try_on_driver(work)

    async def _try_on_driver(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        connection = self._batch_connection
        if connection is None or connection.is_closed():
            connection = self._batch_connection = await self._connect()
        try:
            return await work(connection)
        except TRANSIENT_ERRORS:
            raise
        except BaseException:  # cut off or cancelled: the state of the connection is unknown
            connection.terminate()
            self._batch_connection = None
            raise

    async def listen(
        self,
        on_ready: Callable[[], Awaitable[None]],
        on_changes: Callable[[Sequence[ChangedRow]], Awaitable[None]],
    ) -> None:
        """Call `on_changes` with what other replicas change; return or raise when the connection is lost.

        `on_ready` is awaited once the connection listens and before any change is passed on: it reads what was
        changed before.
        """
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        connection = await self._connect(timeout_seconds=LISTEN_CONNECT_SECONDS)
        try:
            connection.add_termination_listener(lambda _: queue.put_nowait(None))
            await connection.add_listener(CHANNEL, lambda *received: queue.put_nowait(str(received[3])))
            forward = self._forward_changes(queue, on_ready, on_changes)
            await run_while_alive(connection, f"LISTEN {CHANNEL}", forward)
        finally:
            connection.terminate()

    async def _forward_changes(
        self,
        queue: "asyncio.Queue[str | None]",
        on_ready: Callable[[], Awaitable[None]],
        on_changes: Callable[[Sequence[ChangedRow]], Awaitable[None]],
    ) -> None:
        """Pass on the announcements of other replicas until the connection ends."""
        await on_ready()
        while (payload := await queue.get()) is not None:
            instance, _, rows = payload.partition(" ")
            if instance != self.instance:
                await on_changes([(row_id, user_id) for row_id, user_id in json.loads(rows)])

    async def reclaim(self, tables: Sequence[str]) -> bool:
        """Vacuum the tables, on a connection of its own.

        The server may overwrite the bytes of deleted rows only later, and its log (WAL) keeps them until it is
        recycled.
        """
        connection = await self._connect()
        try:
            await connection.execute(f"VACUUM {', '.join(tables)}", timeout=VACUUM_SECONDS)
            await connection.close(timeout=CLOSE_SECONDS)
        finally:
            connection.terminate()
        return True

    async def check(self) -> None:
        """Raise if the database does not answer."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        if self._batch_connection is not None:
            self._batch_connection.terminate()
        with suppress(TimeoutError):  # a connection that is cut off does not answer
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._tasks.finish()
                await self._engine.dispose()

    async def _connect(self, *, timeout_seconds: float = CONNECT_SECONDS) -> Connection:
        """Open a connection; its settings follow as a statement, since poolers refuse most at the start."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=timeout_seconds,
            command_timeout=30,
            server_settings={"application_name": "framehook"},
        )
        try:
            enable_keep_alive(connection)
            # A process that is suspended in a transaction loses its locks after this time.
            await connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}'")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _payloads(self, changed_rows: Iterable[ChangedRow]) -> list[str]:
        """Return one notification for all rows if it fits, else several."""
        rows = list(dict.fromkeys(changed_rows))
        if not rows:
            return []
        payload = f"{self.instance} {json.dumps(rows, separators=(',', ':'))}"
        if len(payload) <= NOTIFY_BYTES:
            return [payload]
        half = len(rows) // 2
        return self._payloads(rows[:half]) + self._payloads(rows[half:])
