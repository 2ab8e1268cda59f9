"""Open the database that a URL names."""

from infra.database.base import Database
from infra.database.postgresql import PostgresDatabase, is_postgresql
from infra.database.sqlite import SqliteDatabase


def open_database(url: str) -> Database:
    """Open the database that a URL names. Raises ValueError for a kind that is not supported."""
    return PostgresDatabase(url) if is_postgresql(url) else SqliteDatabase(url)
