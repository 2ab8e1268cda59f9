"""Brings a database to the newest schema, by Alembic."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path
from infra.private_files import touch_private

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


def known_revisions(url: str) -> list[str]:
    """Return all revisions that this release knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(config(url)).walk_revisions()]


async def revision_of(url: str) -> str:
    """Return the revision of a PostgreSQL database; empty if it has no tables of ours."""
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return ""
        return str(await connection.fetchval("SELECT version_num FROM alembic_version") or "")
    finally:
        await connection.close()


async def is_current(url: str) -> bool:
    """Whether a PostgreSQL database has the newest schema."""
    return await revision_of(url) == known_revisions(url)[0]


def downgrade(url: str, revision: str) -> None:
    """Go back to an earlier revision; `base` is the empty database."""
    command.downgrade(config(url), revision)
