"""Brings a database to the newest schema, by Alembic."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from infra.database import sqlite_path
from infra.postgresql import dsn_of, is_postgresql
from infra.private import touch_private

MIGRATIONS = Path(__file__).parent / "migrations"


def config(url: str) -> Config:
    """Alembic's configuration, without a file."""
    found = Config()
    found.set_main_option("script_location", str(MIGRATIONS))
    found.attributes["url"] = url
    return found


def upgrade(url: str, revision: str = "head") -> None:
    """Apply what is missing; does nothing on a database that is up to date.

    SQLite's further files get the rights that the database has, so it begins as its owner's alone.
    """
    if not is_postgresql(url):
        touch_private(sqlite_path(url))
    command.upgrade(config(url), revision)


async def is_current(url: str) -> bool:
    """Whether a PostgreSQL database has the newest schema."""
    newest = ScriptDirectory.from_config(config(url)).get_current_head()
    connection = await asyncpg.connect(dsn_of(url), timeout=10)
    try:
        known = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        return bool(known) and await connection.fetchval("SELECT version_num FROM alembic_version") == newest
    finally:
        await connection.close()


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier revision; `base` is the empty database."""
    command.downgrade(config(url), revision)
