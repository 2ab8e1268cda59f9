"""Batches on asyncpg."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec

from infra.database.base import ChangedRow, Row, StagedTable

NOTIFY_BYTES: Final = 7_500
"""PostgreSQL accepts less than 8,000 bytes in a notification."""

Connection = Any  # asyncpg has no types


@cache  # statements are constants
def to_positional(statement: str) -> tuple[str, list[str]]:
    """Return a statement with `:names` as one with `$1`, and the names in order; each use is a parameter."""
    names: list[str] = []

    def to_number(match: re.Match[str]) -> str:
        names.append(match[1])
        return f"${len(names)}"

    return re.sub(r"(?<!:):(\w+)", to_number, statement), names


class PostgresBatch:
    """A batch on a connection of asyncpg."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.changed_rows: list[ChangedRow] = []

    async def fetch(self, statement: str, values: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run a statement and return its rows."""
        positional, names = to_positional(statement)
        rows: Sequence[Row] = await self._connection.fetch(
            positional, *((values or {})[name] for name in names)
        )
        return rows

    async def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement for each set of values."""
        positional, names = to_positional(statement)
        await self._connection.executemany(positional, [[row[name] for name in names] for row in rows])

    async def stage(self, table: StagedTable, rows: Sequence[msgspec.Struct]) -> "PostgresStagedRows":
        """Encode the rows as the parameter of the statements that follow.

        One parameter of JSON costs the driver, and so this process, a third of what an array for each column costs.
        """
        return PostgresStagedRows(self._connection, f"WITH {_define_staged(table)}", _encode(rows))


async def update_and_announce(
    connection: Connection,
    table: StagedTable,
    rows: Sequence[msgspec.Struct],
    statement: str,
    *,
    channel: str,
    sender: str,
) -> Sequence[Sequence[Any]]:
    """Run one statement on staged rows, and notify `channel` of the rows in the first two columns that it returns.

    Outside of a transaction this costs one exchange with the server: it begins, updates, notifies and commits.
    """
    records = await connection.fetch(
        _add_announcement(_define_staged(table), statement), _encode(rows), channel, sender
    )
    return [record[:-1] for record in records]


@cache
def _add_announcement(staged: str, statement: str) -> str:
    # Each notification has as many rows as fit. A CTE that nothing refers to would not run, so they are counted.
    return f"""
        WITH {staged}, changed (row_id, owner_id) AS ({statement}),
        pairs AS (SELECT row_id, json_build_array(row_id, owner_id)::text AS pair FROM changed),
        parts AS (
            SELECT pair, sum(octet_length(pair) + 1) OVER (ORDER BY row_id) / {NOTIFY_BYTES // 2} AS part FROM pairs),
        notified AS (
            SELECT pg_notify($2, $3 || ' [' || string_agg(pair, ',') || ']') FROM parts GROUP BY part)
        SELECT changed.*, (SELECT count(*) FROM notified) FROM changed
    """  # noqa: S608 - constants only


def _define_staged(table: StagedTable) -> str:
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in table.columns.items())
    return f"{table.name} AS (SELECT * FROM json_to_recordset($1) AS {table.name} ({columns}))"  # noqa: S608


def _encode(rows: Sequence[msgspec.Struct]) -> str:
    return msgspec.json.encode(rows).decode()


class PostgresStagedRows:
    """Rows as a parameter of JSON."""

    def __init__(self, connection: Connection, with_clause: str, rows: str) -> None:
        self._connection = connection
        self._with = with_clause
        self._rows = rows

    async def fetch(self, statement: str) -> Sequence[Row]:
        """Run a statement that reads the rows by the name of their table."""
        rows: Sequence[Row] = await self._connection.fetch(f"{self._with} {statement}", self._rows)
        return rows
