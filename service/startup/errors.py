"""Turn errors at the start into one sentence each: the setting, what is wrong, what to do."""

import errno
import os
import socket
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError

from infra.database.errors import is_disk_full
from infra.lock import LockTaken
from service.schema import Schema, SchemaAge
from service.settings import BadSettings, Settings
from service.startup.data_folder import GROUP_AND_OTHERS, WRITE_TEST, secure_data_folder
from service.startup.outage import list_causes, was_raised_in_asyncpg
from service.startup.statuses import CONFIGURATION_STATUS, TRY_AGAIN_STATUS

ErrorTypes = tuple[type[BaseException], ...]

_POSTGRESQL_SENTENCES: tuple[tuple[ErrorTypes, str, int], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "the database rejects this user or password; correct them",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "the database does not exist; create it, or use another",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "this user lacks a privilege in the database; make the user its owner, or grant what is missing",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.SyntaxOrAccessError,),
        "the tables are not those of this schema; restore a backup into an empty database",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        "the server has too many connections; try again, or raise its limit",
        TRY_AGAIN_STATUS,
    ),
    (
        (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        "other transactions, such as a backup, keep tables locked; try again when they have ended",
        TRY_AGAIN_STATUS,
    ),
    (
        (socket.gaierror,),
        "the name of the server can't be resolved; correct it, percent-encode @ : / # in the password, or try again",
        TRY_AGAIN_STATUS,
    ),
    (
        (ssl.SSLError, ValueError, asyncpg.InterfaceError),
        "can't connect with this URL; check user, host, port, database and `sslmode`; percent-encode odd characters",
        CONFIGURATION_STATUS,
    ),
    (
        (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError),
        "the database can't be reached; check that it is running, and its host and port",
        TRY_AGAIN_STATUS,
    ),
)


class StartError(Exception):
    """The program can't start; the message is a sentence, `status` the exit status."""

    def __init__(self, sentence: str, status: int = CONFIGURATION_STATUS) -> None:
        super().__init__(sentence)
        self.status = status


@contextmanager
def as_start_errors(settings: Settings) -> Iterator[None]:
    """Raise known errors as StartError; others pass unchanged."""
    try:
        yield
    except BadSettings as error:
        raise StartError(str(error)) from error
    except LockTaken:
        raise StartError(
            f"DATA_DIR: another service is using {settings.data_dir}; stop it, or use another folder",
            TRY_AGAIN_STATUS,
        ) from None
    except Exception as error:
        start_error = start_error_from(error, settings)
        if start_error is None:
            raise
        raise start_error from error


def start_error_from(error: Exception, settings: Settings) -> StartError | None:
    """Convert a known error; return None for others."""
    for known in list_causes(error) if isinstance(error, DBAPIError) else (error,):
        if isinstance(known, CommandError):  # Alembic does not know the revision
            return schema_error(None, settings)
        if isinstance(known, sqlite3.Error):
            return _sqlite_error(known, settings)
        if isinstance(known, asyncpg.PostgresError):
            return _postgresql_error(known)
    cause = error.__cause__ if isinstance(error, DBAPIError) and error.__cause__ else error
    if was_raised_in_asyncpg(error):
        return _postgresql_error(cause)
    if isinstance(cause, OSError):
        path = Path(cause.filename or settings.data_dir)
        is_database = bool(settings.database_url) and str(path) in str(settings.database_url)
        return _folder_error(cause, path, "DATABASE_URL" if is_database else "DATA_DIR")
    return None


def prepare_data_dir(path: Path) -> None:
    """Prepare the data folder and set a umask that keeps files private; raises StartError."""
    os.umask(GROUP_AND_OTHERS)
    probe = path / WRITE_TEST
    try:
        secure_data_folder(path)
        probe.touch()
        probe.unlink(missing_ok=True)
    except BadSettings as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise _folder_error(error, path) from error


def schema_error(found_schema: Schema | None, settings: Settings) -> StartError:
    """Explain a schema that is not the newest; None means one that Alembic does not know."""
    if found_schema is None or found_schema.age is SchemaAge.NEWER:
        return StartError(
            f"{_database_setting(settings)}: the schema is that of a newer release; run that release, "
            "or restore a backup from before its upgrade"
        )
    reason = (
        "the database has no tables yet"
        if found_schema.age is SchemaAge.EMPTY
        else "the schema is out of date"
    )
    return StartError(f"{_database_setting(settings)}: {reason}; run `framehook db upgrade` first")


def _database_setting(settings: Settings) -> str:
    return "DATABASE_URL" if settings.database_url else "DATA_DIR"


def _sqlite_error(error: sqlite3.Error, settings: Settings) -> StartError:
    setting = _database_setting(settings)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StartError(f"{setting}: another process locks the database; try again", TRY_AGAIN_STATUS)
    if is_disk_full(error):
        return StartError(f"{setting}: the disk is full; free some space and try again", TRY_AGAIN_STATUS)
    advice = {
        sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; use another, or restore a backup",
        sqlite3.SQLITE_CORRUPT: "the database is damaged; restore a backup",
        sqlite3.SQLITE_READONLY: "the database is read-only; give this user write access to the file and its folder",
        sqlite3.SQLITE_CANTOPEN: "the database can't be opened; give this user access to the file and its folder",
    }
    return StartError(
        f"{setting}: {advice.get(code, f'the database is not usable ({error}); check the file')}"
    )


def _postgresql_error(error: BaseException) -> StartError:
    if "rejected SSL upgrade" in str(error):  # asyncpg raises no class of its own for it
        return StartError("DATABASE_URL: the server has no TLS; set it up there, or use `sslmode=disable`")
    for error_types, sentence, status in _POSTGRESQL_SENTENCES:
        if isinstance(error, error_types):
            return StartError(f"DATABASE_URL: {sentence}", status)
    name = type(error).__name__
    return StartError(f"DATABASE_URL: the server reports an error ({name}); see its log", TRY_AGAIN_STATUS)


def _folder_error(error: OSError, path: Path, setting: str = "DATA_DIR") -> StartError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StartError(
            f"{setting}: the disk of {path} is full; free some space and try again", TRY_AGAIN_STATUS
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StartError("the limit of open files is too low; raise `ulimit -n`")
    if error.errno == errno.EXDEV:
        return StartError(
            f"{setting}: {path} is another disk or mount than the folder {path.parent / 'incoming'}, from which files "
            f"are moved to it; mount the disk as {path.parent}"
        )
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StartError(f"{setting}: {path} is not a folder, or its parent is not; use another")
    if error.errno == errno.EISDIR:
        return StartError(f"{setting}: {path} is a folder, but must be a file; move it away")
    reason = (error.strerror or type(error).__name__).lower()
    return StartError(f"{setting}: {path} can't be written ({reason}); use a folder that this user can write")
