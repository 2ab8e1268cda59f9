"""What can keep the program from starting, as one sentence each: the setting, what is wrong, what to do."""

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

from infra.lock import LockTaken
from service.settings import BadSettings, Settings
from service.startup.data_folder import OTHERS, secure_data_folder
from service.startup.outage import was_raised_in_asyncpg

CONFIGURATION_STATUS = 78
"""EX_CONFIG of sysexits.h: it fails again until somebody changes something."""
TRY_AGAIN_STATUS = 75
"""EX_TEMPFAIL: it may succeed a moment later."""

Kinds = tuple[type[BaseException], ...]

_POSTGRESQL: tuple[tuple[Kinds, str, int], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "the database refuses this user or password; correct them",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "the server has no such database; create it, or name another",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "this user may not do that in the database; grant it the right, or use the owner",
        CONFIGURATION_STATUS,
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        "the server has no connection left; try again, or raise its limit",
        TRY_AGAIN_STATUS,
    ),
    (
        (socket.gaierror,),
        "the name of the server can't be resolved; correct it, or try again",
        TRY_AGAIN_STATUS,
    ),
    (
        (ssl.SSLError, ValueError, asyncpg.InterfaceError),
        "it can't be used as it is; see that user, host, port, name and `sslmode` are right, and odd signs %-encoded",
        CONFIGURATION_STATUS,
    ),
    (
        (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError),
        "the database can't be reached; see that it runs, and that host and port are right",
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
    """Turn what keeps the program from starting into a StartError; whatever nobody foresaw stays as it is."""
    try:
        yield
    except BadSettings as error:
        raise StartError(str(error)) from error
    except LockTaken:
        raise StartError(
            f"DATA_DIR: another service is running on {settings.data_dir}; end it, or name another folder",
            TRY_AGAIN_STATUS,
        ) from None
    except Exception as error:
        explained = explain(error, settings)
        if explained is None:
            raise
        raise explained from error


def explain(error: Exception, settings: Settings) -> StartError | None:
    """Say in a sentence what an error at the start means; None for one that means nothing known."""
    found = error.__cause__ if isinstance(error, DBAPIError) and error.__cause__ else error
    if isinstance(found, DBAPIError) and isinstance(found.orig, Exception):
        found = found.orig
    if isinstance(found, CommandError):  # Alembic's, of a revision that it does not know
        return schema_error(None, settings)
    if isinstance(found, sqlite3.Error):
        return _sqlite(found, settings)
    if was_raised_in_asyncpg(error) or isinstance(found, asyncpg.PostgresError):
        return _postgresql(found)
    if isinstance(found, OSError):
        path = Path(found.filename or settings.data_dir)
        is_database = bool(settings.database_url) and str(path) in str(settings.database_url)
        return _folder(found, path, "DATABASE_URL" if is_database else "DATA_DIR")
    return None


def prepare_data_dir(path: Path) -> None:
    """Make the data folder ready, and whatever this process writes its user's alone; raises StartError."""
    os.umask(OTHERS)
    probe = path / ".write-test"
    try:
        secure_data_folder(path)
        probe.touch()
        probe.unlink(missing_ok=True)
    except BadSettings as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise _folder(error, path) from error


def schema_error(revision: str | None, settings: Settings) -> StartError:
    """Say what to do about a database whose schema is older than the newest, or None: one that is not known."""
    if revision is None:
        return StartError(
            f"{_database_setting(settings)}: the schema was made by a newer release; run that one, "
            "or restore a backup from before its upgrade"
        )
    return StartError(
        f"{_database_setting(settings)}: the schema is not the newest; run `framehook db upgrade` first"
    )


def _database_setting(settings: Settings) -> str:
    return "DATABASE_URL" if settings.database_url else "DATA_DIR"


def _sqlite(error: sqlite3.Error, settings: Settings) -> StartError:
    setting = _database_setting(settings)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StartError(f"{setting}: the database is in use; try again in a moment", TRY_AGAIN_STATUS)
    if code == sqlite3.SQLITE_FULL:
        return StartError(f"{setting}: the disk is full; make room and try again", TRY_AGAIN_STATUS)
    advice = {
        sqlite3.SQLITE_NOTADB: "the file is not a SQLite database; name another, or restore a backup",
        sqlite3.SQLITE_CORRUPT: "the database is damaged; restore a backup",
        sqlite3.SQLITE_READONLY: "the database can't be written; let this user write the file and its folder",
        sqlite3.SQLITE_CANTOPEN: "the database can't be opened; let this user read and write the file and its folder",
    }
    return StartError(
        f"{setting}: {advice.get(code, f'the database can not be used ({error}); look after the file')}"
    )


def _postgresql(error: BaseException) -> StartError:
    for kinds, sentence, status in _POSTGRESQL:
        if isinstance(error, kinds):
            return StartError(f"DATABASE_URL: {sentence}", status)
    kind = type(error).__name__
    return StartError(f"DATABASE_URL: the server refuses this ({kind}); look into its log", TRY_AGAIN_STATUS)


def _folder(error: OSError, path: Path, setting: str = "DATA_DIR") -> StartError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StartError(f"{setting}: the disk of {path} is full; make room and try again", TRY_AGAIN_STATUS)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StartError("the process may not open enough files; raise `ulimit -n`")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StartError(f"{setting}: {path} is not a folder, or lies in none; name another")
    if error.errno == errno.EISDIR:
        return StartError(f"{setting}: {path} is a folder where a file has to be; move it away")
    reason = (error.strerror or type(error).__name__).lower()
    return StartError(f"{setting}: {path} can't be written ({reason}); name a place that this user may write")
