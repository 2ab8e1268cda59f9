"""The SQL that SQLite and PostgreSQL spell differently."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


class SqliteDialect:
    """SQL as SQLite spells it."""

    row_lock = ""

    async def lock(self, session: AsyncSession, key: str) -> None:
        """Do nothing: a transaction that may write is the only one."""

    def json_rows(self, parameter: str) -> str:
        """Return a JSON array's strings as a table."""
        return f"json_each({parameter})"

    def json_array(self, expression: str) -> str:
        """Return the aggregate that makes a JSON array."""
        return f"json_group_array({expression})"


SQLITE: Final = SqliteDialect()


class PostgresDialect:
    """SQL as PostgreSQL spells it."""

    row_lock = "FOR UPDATE"

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
