"""The errors of a database that can't be used now."""

import sqlite3
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

DATABASE_ERRORS: Final = (
    SQLAlchemyError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was cut off during a conversation
    OSError,
)
"""Raised by a database that is stopped, starting, unreachable or out of disk space."""

DISK_FULL_STATE: Final = "53100"


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that the disk of the database has no room.

    SQLite says so in its own way where the index of its log (`-shm`) can't grow: "disk I/O error".
    """
    reason = getattr(error, "orig", None) or error
    if isinstance(reason, sqlite3.Error):
        code: int = getattr(reason, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE
    sqlstate: str | None = getattr(reason, "sqlstate", None)
    return sqlstate == DISK_FULL_STATE
