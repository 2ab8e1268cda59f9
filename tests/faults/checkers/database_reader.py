"""The database as a witness: what is committed, read beside the service and never through it."""

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
from tests.faults.checkers.delivery_checks import Moment, Sending, Try

PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.05
FINAL = ("complete", "error", "cancelled")


_AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


class OutOfReach(Exception):
    """The database can't be read now."""


@dataclass(frozen=True)
class Row:
    """What the invariants need of a job's row."""

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

    @property
    def final(self) -> bool:
        return self.status in FINAL


class Source(Protocol):
    """One way into a database; `$1` stands for the argument in both."""

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        """The rows; raises OutOfReach."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class SqliteSource:
    """A file, opened for reading alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        try:
            connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=0.2)
            try:
                return connection.execute(statement.replace("$1", "?"), (argument,)).fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise OutOfReach(str(error)) from error

    async def close(self) -> None:
        """Nothing is held open."""


class PostgresSource:
    """One connection, made anew after a restart."""

    def __init__(self, url: str) -> None:
        self._dsn = asyncpg_dsn(url)
        self._connection: Any = None
        self._one = asyncio.Lock()

    async def fetch(self, statement: str, argument: str) -> Sequence[Sequence[Any]]:
        async with self._one:
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(self._dsn, timeout=5, command_timeout=5)
                return list(await self._connection.fetch(statement, argument))
            except BaseException as error:
                if (
                    self._connection is not None
                ):  # a reader that was stopped meanwhile leaves it unusable, too
                    self._connection.terminate()
                    self._connection = None
                if isinstance(error, _AWAY):
                    raise OutOfReach(str(error)) from error
                raise

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()


class Ledger:
    """Rows and timelines, as they are committed."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def row(self, job_id: str) -> Row | None:
        """The row as it stands now; raises OutOfReach."""
        found = await self._source.fetch(f"SELECT {_COLUMNS} FROM export_jobs WHERE job_id = $1", job_id)  # noqa: S608
        return Row(*found[0]) if found else None

    async def surely(self, job_id: str) -> Row | None:
        """The row, waiting for a database that is down: rows only go forward, so later is as good."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self.row(job_id)
            except OutOfReach:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def of_user(self, user_id: str) -> list[Row]:
        """All of a user's rows; raises OutOfReach."""
        found = await self._source.fetch(f"SELECT {_COLUMNS} FROM export_jobs WHERE user_id = $1", user_id)  # noqa: S608
        return [Row(*each) for each in found]

    async def is_finalizing(self, user_id: str) -> bool:
        """Whether a replica verifies and publishes an output of the user's; raises OutOfReach."""
        statement = "SELECT 1 FROM export_jobs WHERE user_id = $1 AND finalizer IS NOT NULL"
        return bool(await self._source.fetch(statement, user_id))

    async def timeline(self, job_id: str) -> list[Moment]:
        """The job's transitions, oldest first; raises OutOfReach."""
        found = await self._source.fetch(
            "SELECT sequence, attempt, status, phase, progress FROM export_events WHERE job_id = $1 ORDER BY sequence",
            job_id,
        )
        return [Moment(*each) for each in found]

    async def sendings(self, user_id: str) -> list[Sending]:
        """The outbox of a user, oldest first; raises OutOfReach."""
        statement = f"SELECT {_SENDING} FROM webhook_deliveries WHERE user_id = $1 ORDER BY delivery_id"  # noqa: S608
        return [Sending(*each) for each in await self._source.fetch(statement, user_id)]

    async def books(self, user_id: str) -> tuple[list[Sending], dict[str, list[Try]]]:
        """The outbox of a user, and the log of what was sent, by delivery, as of one moment; raises OutOfReach."""
        columns = [f"delivery.{name}" for name in _SENT] + [f"try.{name}" for name in _TRIED]
        statement = f"""
            SELECT {", ".join(columns)} FROM webhook_deliveries AS delivery
            LEFT JOIN webhook_attempts AS try ON try.delivery_id = delivery.delivery_id
            WHERE delivery.user_id = $1 ORDER BY delivery.delivery_id, try.attempt
        """  # noqa: S608 - made of constants
        sendings: dict[str, Sending] = {}
        tries: dict[str, list[Try]] = defaultdict(list)
        for each in await self._source.fetch(statement, user_id):
            sending, tried = Sending(*each[: len(_SENT)]), each[len(_SENT) :]
            sendings[sending.delivery_id] = sending
            if tried[0] is not None:
                tries[sending.delivery_id].append(Try(*tried))
        return list(sendings.values()), tries

    async def close(self) -> None:
        await self._source.close()


_SENT = [field.name for field in fields(Sending)]
_SENDING = ", ".join(_SENT)
_TRIED = [field.name for field in fields(Try)]
_COLUMNS = ", ".join(field.name for field in fields(Row))
