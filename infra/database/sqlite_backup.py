"""Copy a SQLite database as a whole, while other processes read and write it."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from infra.private_files import open_private

MAX_DAMAGE = 20
_SUFFIXES = ("-wal", "-shm", "-journal")


class DamagedDatabase(Exception):
    """The file is no intact SQLite database; the message says what SQLite reports of it."""


def copy_database(source: Path, target: Path) -> None:
    """Copy a database to a new file, as it was at one moment; the file appears complete or not at all.

    Raises FileExistsError if the target exists, DamagedDatabase, sqlite3.Error or OSError.
    """
    part = _copy_to_part(source, target)
    try:
        os.link(part, target)  # unlike a rename it replaces nothing
    finally:
        part.unlink()
    _sync(target.parent)


def replace_database(source: Path, target: Path) -> None:
    """Replace a database, which no process may have open, by a copy of another.

    Raises DamagedDatabase, sqlite3.Error or OSError; the target is then unchanged.
    """
    part = _copy_to_part(source, target)
    for suffix in _SUFFIXES:  # first: SQLite would apply an old log to the new file
        target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
    part.replace(target)
    _sync(target.parent)


def list_damage(path: Path, *, limit: int = MAX_DAMAGE) -> list[str]:
    """Return what SQLite finds wrong with a file: pages, indexes, and rows that refer to none."""
    try:
        return _list_damage(path, limit)
    except sqlite3.DatabaseError as error:  # so much that the check itself can't go on
        return [str(error)]


def _list_damage(path: Path, limit: int) -> list[str]:
    with closing(open_read_only(path)) as connection:
        lines = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({limit})")]
        damage = [] if lines == ["ok"] else lines
        for table, row_id, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(limit):
            damage.append(f"row {row_id} of {table} refers to a row of {parent} that does not exist")
    return damage


def has_rows(path: Path, *, apart_from: str) -> bool:
    """Tell whether a table other than this one has rows; a file that can't be read counts as having some."""
    try:
        with closing(open_read_only(path)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> ?"
            tables = [row[0] for row in connection.execute(query, (apart_from,))]
            return any(connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone() for table in tables)  # noqa: S608 - names of tables
    except sqlite3.Error:
        return True


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database without being able to change or create it."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _copy_to_part(source: Path, target: Path) -> Path:
    """Copy a database to a file beside the target, check the copy, and write it to the disk."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    open(part, "xb", opener=open_private).close()
    try:
        with closing(open_read_only(source)) as original, closing(sqlite3.connect(part)) as copy:
            original.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # so that the copy is a single file
            _check_copy(copy)
        _sync(part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _check_copy(copy: sqlite3.Connection) -> None:
    lines = [str(row[0]) for row in copy.execute("PRAGMA quick_check(1)")]
    if lines != ["ok"]:
        raise DamagedDatabase(lines[0])


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
