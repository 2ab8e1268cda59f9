"""Make the data folder accessible only to its owner, including files of earlier versions."""

import asyncio
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path
from infra.private_files import FOLDER_MODE, make_private_folder
from service.settings import BadSettings

logger = logging.getLogger("framehook.data")

ENTRIES_AT_START = 20_000
"""How many files and folders are checked before the service accepts requests; the rest is checked afterwards."""
BATCH_ENTRIES = 1_000
GROUP_AND_OTHERS = 0o077

DATABASE = "framehook.db"
WRITE_TEST = ".write-test"
_OWN_NAMES = (
    *(DATABASE, "callback_secret", "service.lock", "incoming", "objects", "scratch"),
    *("demo", "demo.lock", "demo.log", "modal", "modal.log"),
)
_SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
_IGNORED_NAMES = ("lost+found",)


def secure_data_folder(path: Path) -> None:
    """Create the data folder, or remove other users' access to it.

    Raises BadSettings if it is not the service's own.
    """
    make_private_folder(path)
    status = path.stat()
    _check_owner(path, status)
    if status.st_mode & GROUP_AND_OTHERS:
        path.chmod(FOLDER_MODE)
        mode = status.st_mode & 0o777
        logger.warning("DATA_DIR: %s was open to other users (mode %o); their access was removed", path, mode)


@contextmanager
def try_data_folder(path: Path) -> Iterator[None]:
    """Check that the data folder can be created and written; folders that were created for that are removed again.

    Raises BadSettings or OSError.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        make_private_folder(path)
        _check_owner(path, path.stat())
        probe = path / WRITE_TEST
        probe.touch()
        probe.unlink(missing_ok=True)
        yield
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Raise BadSettings for a folder that others use: it would become useless to them."""
    advice = f"use a folder for the service alone, such as {path / 'framehook'}"
    if status.st_uid != os.geteuid():
        raise BadSettings(f"DATA_DIR: {path} belongs to another user (id {status.st_uid}); {advice}")
    is_shared = status.st_mode & stat.S_ISVTX or path.resolve() == Path("/") or not _is_own(path)
    if status.st_mode & GROUP_AND_OTHERS and is_shared:
        raise BadSettings(
            f"DATA_DIR: {path} is open to other users and contains files of other programs; {advice}"
        )


def own_entries(path: Path) -> list[Path]:
    """Return the paths that the service may create in its data folder, the database first."""
    return [path / f"{name}{suffix}" for name in _OWN_NAMES for suffix in ("", *_SQLITE_SUFFIXES)]


def database_files(url: str) -> list[Path]:
    """Return the files of a SQLite database; none for PostgreSQL."""
    if is_postgresql(url):
        return []
    path = sqlite_path(url)
    return [path, *(path.with_name(f"{path.name}{suffix}") for suffix in _SQLITE_SUFFIXES)]


async def make_private(paths: Iterable[Path], at_start: int = ENTRIES_AT_START) -> Iterator[bool]:
    """Remove other users' access to paths and their contents.

    Returns the entries that are still unchecked.
    """
    entries = restrict_to_owner(paths)
    changed = await asyncio.to_thread(lambda: sum(islice(entries, at_start)))
    if changed:
        logger.warning(
            "DATA_DIR: %d files and folders were open to other users; their access was removed", changed
        )
    return entries


async def make_rest_private(entries: Iterator[bool]) -> None:
    """Check the remaining entries in batches, so that the service stays responsive."""
    checked = BATCH_ENTRIES
    while checked == BATCH_ENTRIES:
        checked = await asyncio.to_thread(lambda: len(list(islice(entries, BATCH_ENTRIES))))


def restrict_to_owner(paths: Iterable[Path]) -> Iterator[bool]:
    """Remove other users' access to paths and their contents; links are not followed.

    Yields for each whether it has changed.
    """
    folders = [iter(paths)]
    while folders:
        path = next(folders[-1], None)
        if path is None:
            folders.pop()
            continue
        try:
            status = path.lstat()
            is_accessible = bool(status.st_mode & GROUP_AND_OTHERS) and not stat.S_ISLNK(status.st_mode)
            if is_accessible:
                _remove_access(path)
            if stat.S_ISDIR(status.st_mode):
                folders.append(_entries(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("DATA_DIR: the mode of %s could not be changed: %s", path, _reason(error))
            continue
        yield is_accessible


def _entries(folder: Path) -> Iterator[Path]:
    """Yield a folder's entries lazily: there may be a million."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path)


def _remove_access(path: Path) -> None:
    """Change the mode of a file; O_NOFOLLOW protects the target of a link put in its place."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~GROUP_AND_OTHERS)
    finally:
        os.close(descriptor)


def _is_own(path: Path) -> bool:
    """Tell whether a folder is empty or holds a file of the service."""
    names = {entry.name for entry in path.iterdir()}
    return bool(names & set(_OWN_NAMES)) or all(
        name in _IGNORED_NAMES or name.startswith(".") for name in names
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
