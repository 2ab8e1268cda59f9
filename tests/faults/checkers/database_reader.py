"""Read what is committed, beside the service and never through it."""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from infra.database.postgresql import asyncpg_dsn
from service.jobs.models import EXPIRED
from tests.faults.checkers.delivery_checks import LoggedAttempt, OutboxRow, TimelineRow

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.05
FINAL = ("complete", "error", "cancelled")


_UNAVAILABLE_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class DatabaseUnavailable(Exception):
    """The database cannot be read at the moment."""


@dataclass(frozen=True)
class Row:
    """The columns of a job that the invariants need."""

    job_id: str
    user_id: str
    status: str
    phase: str
    progress: float
    attempt: int
    run: str
    step: int
    sequence: int
    output_key: str
    output_size: int | None
    output_checksum: str | None
    input_key: str
    error_code: str | None
    gpu_seconds: float
    gpu_seconds_before: float
    transition_sequence: int = 1
    created_at: float = 0.0
    completed_at: float | None = None
    edited_at: float | None = None
    expires_at: float | None = None
    expiry_step: int = 0
    cost_usd: float | None = 0.0
    max_cost_usd: float | None = None
    held_until: float | None = None

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def edits(self) -> int:
        """How many changes the row had after its last transition."""
        return self.sequence - self.transition_sequence

    @property
    def has_expired(self) -> bool:
        return self.expiry_step >= EXPIRED

    @property
    def has_reached_limit(self) -> bool:
        """Tell whether the export has cost as much as it may."""
        return self.max_cost_usd is not None and (self.cost_usd or 0.0) >= self.max_cost_usd


@dataclass(frozen=True)
class BatchRow:
    """The columns of a batch that the invariants need."""

    batch_id: str
    exports: int
    completed_at: float | None


class Source(Protocol):
    """One way to query a database; `$1` is the placeholder for both."""

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        """Return the rows. Raises DatabaseUnavailable."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class SqliteSource:
    """A file, opened read-only for each query."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        try:
            connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0.2)
            try:
                return connection.execute(statement.replace("$1", "?1"), (argument,)).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise DatabaseUnavailable(str(error)) from error

    async def close(self) -> None:
        """Do nothing: no connection is kept."""


class PostgresSource:
    """One connection, reopened after a restart of the server."""

    def __init__(self, url: str) -> None:
        self._dsn = asyncpg_dsn(url)
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        async with self._lock:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=5)
                return list(await self._connection.fetch(statement, argument))
            except BaseException as error:
                if self._connection is not None:  # also after a cancelled read
                    self._connection.terminate()
                    self._connection = None
                if isinstance(error, _UNAVAILABLE_ERRORS):
                    raise DatabaseUnavailable(str(error)) from error
                raise

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


class DatabaseReader:
    """Reads committed jobs, timelines and deliveries."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def fetch_row(self, job_id: str) -> Row | None:
        """Return the committed row. Raises DatabaseUnavailable."""
        rows = await self._source.fetch(f"SELECT {_COLUMNS} FROM export_jobs WHERE job_id = $1", job_id)  # noqa: S608
        return Row(*rows[0]) if rows else None

    async def wait_for_row(self, job_id: str) -> Row | None:
        """Return the row, waiting while the database is down; rows only advance, so a later one will do."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self.fetch_row(job_id)
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def fetch_user_rows(self, user_id: str) -> list[Row]:
        """Return all of a user's rows. Raises DatabaseUnavailable."""
        rows = await self._source.fetch(f"SELECT {_COLUMNS} FROM export_jobs WHERE user_id = $1", user_id)  # noqa: S608
        return [Row(*row) for row in rows]

    async def fetch_batches(self, user_id: str) -> list[BatchRow]:
        """Return a user's batches. Raises DatabaseUnavailable."""
        statement = "SELECT batch_id, exports, completed_at FROM export_batches WHERE user_id = $1"
        return [BatchRow(*row) for row in await self._source.fetch(statement, user_id)]

    async def fetch_spent(self, user_id: str) -> dict[int, float]:
        """Return what a user's exports have cost by day; key 0 has what active ones add. Raises DatabaseUnavailable."""
        ended = "SELECT day, sum(cost_usd) FROM usage_days WHERE user_id = $1 GROUP BY day"
        active = """
            SELECT 0, coalesce(sum(cost_usd - counted_usd), 0) FROM export_jobs
            WHERE user_id = $1 AND status IN ('pending', 'processing') AND cost_usd > counted_usd
        """
        rows = await self._source.fetch(f"{ended} UNION ALL {active}", user_id)
        return {int(day): float(usd) for day, usd in rows}

    async def count_rows(self, table: str, job_id: str) -> int:
        """Return how many rows of a table name an export. Raises DatabaseUnavailable."""
        rows = await self._source.fetch(f"SELECT count(*) FROM {table} WHERE job_id = $1", job_id)  # noqa: S608
        return int(rows[0][0])

    async def fetch_erasures(self, user_id: str) -> dict[str, float | None]:
        """Return when the next sweep of each of a user's erasures is due, by id. Raises DatabaseUnavailable."""
        statement = "SELECT job_id, next_at FROM erasures WHERE user_id = $1"
        return dict(map(tuple, await self._source.fetch(statement, user_id)))

    async def is_finalizing(self, user_id: str) -> bool:
        """Tell whether a replica is publishing an output of the user's. Raises DatabaseUnavailable."""
        statement = "SELECT 1 FROM export_jobs WHERE user_id = $1 AND finalizer IS NOT NULL"
        return bool(await self._source.fetch(statement, user_id))

    async def fetch_timeline(self, job_id: str) -> list[TimelineRow]:
        """Return the job's timeline, oldest first. Raises DatabaseUnavailable."""
        rows = await self._source.fetch(
            "SELECT sequence, attempt, status, phase, progress FROM export_events WHERE job_id = $1 ORDER BY sequence",
            job_id,
        )
        return [TimelineRow(*row) for row in rows]

    async def fetch_outbox(self, user_id: str) -> list[OutboxRow]:
        """Return a user's outbox, oldest first. Raises DatabaseUnavailable."""
        statement = (
            f"SELECT {_DELIVERY_SELECTION} FROM webhook_deliveries WHERE user_id = $1 ORDER BY delivery_id"  # noqa: S608
        )
        return [OutboxRow(*row) for row in await self._source.fetch(statement, user_id)]

    async def fetch_deliveries(self, user_id: str) -> tuple[list[OutboxRow], dict[str, list[LoggedAttempt]]]:
        """Return a user's outbox and logged attempts of one moment.

        Attempts are by delivery id. Raises DatabaseUnavailable.
        """
        columns = [f"delivery.{name}" for name in _DELIVERY_COLUMNS] + [
            f"try.{name}" for name in _ATTEMPT_COLUMNS
        ]
        statement = f"""
            SELECT {", ".join(columns)} FROM webhook_deliveries AS delivery
            LEFT JOIN webhook_attempts AS try ON try.delivery_id = delivery.delivery_id
            WHERE delivery.user_id = $1 ORDER BY delivery.delivery_id, try.attempt
        """  # noqa: S608 - made of constants
        outbox: dict[str, OutboxRow] = {}
        attempts: dict[str, list[LoggedAttempt]] = defaultdict(list)
        for row in await self._source.fetch(statement, user_id):
            delivery_row, attempt = OutboxRow(*row[: len(_DELIVERY_COLUMNS)]), row[len(_DELIVERY_COLUMNS) :]
            outbox[delivery_row.delivery_id] = delivery_row
            if attempt[0] is not None:
                attempts[delivery_row.delivery_id].append(LoggedAttempt(*attempt))
        return list(outbox.values()), attempts

    async def close(self) -> None:
        await self._source.close()


_DELIVERY_COLUMNS = [field.name for field in fields(OutboxRow)]
_DELIVERY_SELECTION = ", ".join(_DELIVERY_COLUMNS)
_ATTEMPT_COLUMNS = [field.name for field in fields(LoggedAttempt)]
_COLUMNS = ", ".join(field.name for field in fields(Row))
