"""The schema of a database: its revision, upgrades and downgrades, by Alembic."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path
from infra.private_files import touch_private

MIGRATIONS = Path(__file__).parent / "migrations"


def create_config(url: str) -> Config:
    """Return Alembic's configuration for a database, without a file."""
    alembic_config = Config()
    alembic_config.set_main_option("script_location", str(MIGRATIONS))
    alembic_config.attributes["url"] = url
    return alembic_config


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database to a revision; no-op if it is current.

    The file of a SQLite database is created for its owner alone, and SQLite gives its other files the same rights.
    """
    if not is_postgresql(url):
        touch_private(sqlite_path(url))
    command.upgrade(create_config(url), revision)


def list_revisions(url: str) -> list[str]:
    """Return all revisions that this release contains, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(create_config(url)).walk_revisions()]


async def read_revision(url: str) -> str:
    """Return the revision of a PostgreSQL database; empty if it has none of the tables."""
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return ""
        return str(await connection.fetchval("SELECT version_num FROM alembic_version") or "")
    finally:
        await connection.close()


async def is_current(url: str) -> bool:
    """Tell whether a PostgreSQL database has the newest schema."""
    return await read_revision(url) == list_revisions(url)[0]


def downgrade(url: str, revision: str) -> None:
    """Downgrade to an earlier revision; `base` is the empty database."""
    command.downgrade(create_config(url), revision)
