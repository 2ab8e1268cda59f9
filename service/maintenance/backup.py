"""Back the database up and restore it."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from infra.database import postgresql_tools, sqlite_backup
from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.database.sqlite import sqlite_path
from infra.database.sqlite_backup import DamagedDatabase
from infra.lock import hold_lock
from service import schema
from service.schema import Schema, SchemaAge

VERSION_TABLE = "alembic_version"
APPLICATION = "framehook"
CONNECT_SECONDS = 10


class NotPossible(Exception):
    """The database can't be backed up or restored; the message says why, and what to do."""


class WrongFile(NotPossible):
    """The file that was named is not the right one, or can't be written."""


def back_up(url: str, file: Path) -> Schema:
    """Write the database to a new file, as it is at one moment, while services go on writing; return its schema.

    Raises WrongFile, NotPossible, and what the database or `pg_dump` raise.
    """
    if file.exists():
        raise WrongFile(f"{file} exists already; choose another name")
    if is_postgresql(url):
        postgresql_tools.dump(url, file)
        return read_backup_schema(url, file)
    source = sqlite_path(url)
    if not source.exists():
        raise NotPossible(f"{source} does not exist yet; the service creates it at its first start")
    with _name_full_disk(file):
        sqlite_backup.copy_database(source, file)
    return read_backup_schema(url, file)


def restore(url: str, file: Path, data_dir: Path, *, force: bool) -> Schema:
    """Replace the database by a backup, and return its schema.

    Raises WrongFile, NotPossible, LockTaken if a service runs on the folder, and what the database or `pg_restore`
    raise.
    """
    found_schema = read_backup_schema(url, file)
    if found_schema.age is SchemaAge.EMPTY:
        raise WrongFile(f"{file} is not a backup of this service: it has no tables of it")
    if found_schema.age is SchemaAge.NEWER:
        raise WrongFile(
            f"{file} is of a newer release (schema {found_schema.revision}); restore it with that release"
        )
    if is_postgresql(url):
        asyncio.run(_check_postgresql(url, file, force=force))
        postgresql_tools.restore(url, file)
        return found_schema
    target = sqlite_path(url)
    with hold_lock(data_dir / "service.lock"):
        if not force and target.exists() and sqlite_backup.has_rows(target, apart_from=VERSION_TABLE):
            raise NotPossible(_describe_data(str(target)))
        with _name_damage(file):
            sqlite_backup.replace_database(file, target)
    return found_schema


def read_backup_schema(url: str, file: Path) -> Schema:
    """Return the schema of a backup for the kind of database of this URL."""
    if not file.is_file():
        raise WrongFile(f"{file} does not exist")
    if is_postgresql(url):
        return schema.compare_revision(postgresql_tools.read_dump_revision(file))
    with _name_damage(file):
        return schema.compare_revision(schema.read_file_revision(file))


@contextmanager
def _name_damage(file: Path) -> Iterator[None]:
    """Raise what is wrong with a backup as such: nothing is said of the database in use."""
    try:
        yield
    except DamagedDatabase as error:
        raise WrongFile(f"{file} is damaged ({error}); use another backup") from error
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        raise WrongFile(f"{file} is no intact SQLite database ({error}); use another backup") from error


@contextmanager
def _name_full_disk(file: Path) -> Iterator[None]:
    """Raise that a disk is full as that of a new backup."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
            raise
        raise NotPossible(f"the disk of {file} is full; free some space, or write it elsewhere") from error


async def _check_postgresql(url: str, file: Path, *, force: bool) -> None:
    """Raise NotPossible if a service is connected, if tables would stay, or, without `force`, if there are rows.

    `pg_restore` replaces the tables that are in the backup. Those of a later release would stay, and its upgrade fail.
    """
    connection = await asyncpg.connect(asyncpg_dsn(url), timeout=CONNECT_SECONDS)
    try:
        services = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
            APPLICATION,
        )
        if services:
            raise NotPossible(
                f"DATABASE_URL: a service uses the database ({services} connections); stop every replica first"
            )
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (table,) in tables:
            query = f'SELECT EXISTS (SELECT 1 FROM "{table}")'  # noqa: S608 - the name of a table
            if not force and table != VERSION_TABLE and await connection.fetchval(query):
                raise NotPossible(_describe_data("DATABASE_URL: the database"))
        if left := ", ".join(
            sorted({table for (table,) in tables} - postgresql_tools.list_dump_tables(file))
        ):
            raise NotPossible(
                f"DATABASE_URL: the database has tables that {file} lacks; restore it into an empty database, "
                f"or drop them first: DROP TABLE {left}"
            )
    finally:
        await connection.close()


def _describe_data(place: str) -> str:
    return f"{place} has data; back it up, then replace it with --force"
