"""The schema of a database: its revision, upgrades and downgrades, by Alembic."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path
from infra.private_files import touch_private

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaAge(StrEnum):
    """How a schema compares with that of this release."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


@dataclass(frozen=True)
class Schema:
    """The revision of a database, empty without one, and the newest that this release knows."""

    revision: str
    newest: str
    age: SchemaAge


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


async def read_schema(url: str) -> Schema:
    """Return how the schema of a database compares with that of this release; a missing file is an empty one."""
    if is_postgresql(url):
        return compare_revision(await read_revision(url))
    return compare_revision(await asyncio.to_thread(read_file_revision, sqlite_path(url)))


def compare_revision(revision: str) -> Schema:
    """Compare a revision with those of this release; what it does not know is of a newer one."""
    known = list_revisions("")
    if not revision:
        age = SchemaAge.EMPTY
    elif revision not in known:
        age = SchemaAge.NEWER
    else:
        age = SchemaAge.CURRENT if revision == known[0] else SchemaAge.OLDER
    return Schema(revision, known[0], age)


async def read_revision(url: str) -> str:
    """Return the revision of a PostgreSQL database; empty if it has none of the tables."""
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL"):
            return ""
        return str(await connection.fetchval("SELECT version_num FROM alembic_version") or "")
    finally:
        await connection.close()


def read_file_revision(path: Path) -> str:
    """Return the revision of a SQLite file, without changing it; empty if there is none."""
    if not path.exists():
        return ""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        is_versioned = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        if connection.execute(is_versioned).fetchone() is None:
            return ""
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else ""


def downgrade(url: str, revision: str) -> None:
    """Downgrade to an earlier revision; `base` is the empty database."""
    command.downgrade(create_config(url), revision)
