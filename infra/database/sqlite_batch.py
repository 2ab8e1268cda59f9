"""Batches on SQLite's own driver."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Final

import msgspec

from infra.database.base import ChangedRow, Row, StagedTable

MAX_STAGED_ROWS: Final = 1_000
_ROWS_STEP: Final = 8


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
        """Return the rows as parameters of the statements that follow."""
        assert len(rows) <= MAX_STAGED_ROWS
        return SqliteStagedRows(self._connection, table, rows)


class SqliteStagedRows:
    """Rows that each statement gets as its parameters."""

    def __init__(
        self, connection: sqlite3.Connection, table: StagedTable, rows: Sequence[msgspec.Struct]
    ) -> None:
        self._connection = connection
        self._table = table
        self._row_count = -(-len(rows) // _ROWS_STEP) * _ROWS_STEP or _ROWS_STEP
        self._values = [*chain.from_iterable(map(msgspec.structs.astuple, rows))]
        self._values += repeat(None, self._row_count * len(table.columns) - len(self._values))

    async def fetch(self, statement: str) -> Sequence[Row]:
        """Run a statement that reads the rows by the name of their table."""
        text = _add_rows(self._table, self._row_count, statement)
        return self._connection.execute(text, self._values).fetchall()


@cache  # statements are constants, and the number of rows is a multiple of `_ROWS_STEP`
def _add_rows(table: StagedTable, row_count: int, statement: str) -> str:
    """Return a statement that reads so many rows, without those whose first column is NULL, from a table of its own.

    The driver keeps what it has compiled by the text, so there are not as many texts as there are numbers of rows.
    """
    row = f"({', '.join('?' * len(table.columns))})"
    rows = ", ".join(repeat(row, row_count))
    columns = ", ".join(table.columns)
    return f"""
        WITH {table.name} ({columns}) AS (SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL)
        {statement}
    """  # noqa: S608 - names of the code
