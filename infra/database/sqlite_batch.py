"""Batches on SQLite's own driver."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from infra.database.base import ChangedRow, Row, StagedTable

MAX_STAGED_ROWS = 1_000
# The limit is for the planner: it takes a table without statistics for a long one, and would scan all jobs first.
_STAGED = "WITH {name} AS (SELECT * FROM staged_{name} LIMIT {limit})"


class SqliteBatch:
    """A batch on a connection of `sqlite3`. Nothing here suspends, so the event loop runs nothing in between."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.changed_rows: list[ChangedRow] = []

    async def fetch(self, statement: str, values: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run a statement and return its rows."""
        return self._connection.execute(statement, values or {}).fetchall()

    async def execute_many(self, statement: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement for each set of values."""
        self._connection.executemany(statement, rows)

    async def stage(self, table: StagedTable, rows: Sequence[msgspec.Struct]) -> "SqliteStagedRows":
        """Insert the rows into a temporary table."""
        assert len(rows) <= MAX_STAGED_ROWS
        columns = table.columns
        self._connection.execute(
            f"CREATE TEMP TABLE IF NOT EXISTS staged_{table.name} ({', '.join(columns)})"
        )
        self._connection.execute(f"DELETE FROM staged_{table.name}")  # noqa: S608 - names of the code
        placeholders = ", ".join("?" * len(columns))
        self._connection.executemany(
            f"INSERT INTO staged_{table.name} VALUES ({placeholders})",  # noqa: S608
            map(msgspec.structs.astuple, rows),
        )
        return SqliteStagedRows(self._connection, _STAGED.format(name=table.name, limit=MAX_STAGED_ROWS))


class SqliteStagedRows:
    """The rows of a temporary table."""

    def __init__(self, connection: sqlite3.Connection, with_clause: str) -> None:
        self._connection = connection
        self._with = with_clause

    async def fetch(self, statement: str) -> Sequence[Row]:
        """Run a statement that reads the rows by the name of their table."""
        return self._connection.execute(f"{self._with} {statement}").fetchall()
