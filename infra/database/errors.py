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
