"""The data folder: its owner's alone, whatever was there before and whatever the umask of the process is."""

import asyncio
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path
from infra.private_files import FOLDER_MODE, make_private_folder
from service.settings import BadSettings

logger = logging.getLogger("framehook.data")

ENTRIES_AT_START = 20_000
"""How many files and folders a start looks at before it serves; the others are looked at while it does."""
ENTRIES_AT_ONCE = 1_000
OTHERS = 0o077

DATABASE = "framehook.db"
_OWN_NAMES = (
    *(DATABASE, "callback_secret", "service.lock", "incoming", "objects", "scratch"),
    *("demo", "demo.lock", "demo.log", "modal", "modal.log"),
)
_COMPANIONS = ("-wal", "-shm", "-journal")  # of a SQLite database
_NOTHING = ("lost+found",)


def secure_data_folder(path: Path) -> None:
    """Create the data folder, or take other users' rights to it away; raises BadSettings for one of somebody else."""
    make_private_folder(path)
    before = path.stat()
    _check_owner(path, before)
    if before.st_mode & OTHERS:
        path.chmod(FOLDER_MODE)
        mode = before.st_mode & 0o777
        logger.warning("DATA_DIR: %s was open to other users (mode %o), and is not any more", path, mode)


def _check_owner(path: Path, facts: os.stat_result) -> None:
    """Raise BadSettings for a folder that is not the service's own, and would be taken away from others."""
    advice = f"name a folder of its own for the service, such as {path / 'framehook'}"
    if facts.st_uid != os.geteuid():
        raise BadSettings(f"DATA_DIR: {path} belongs to another user (id {facts.st_uid}); {advice}")
    is_shared = facts.st_mode & stat.S_ISVTX or path.resolve() == Path("/") or not _is_own(path)
    if facts.st_mode & OTHERS and is_shared:
        raise BadSettings(
            f"DATA_DIR: {path} is open to other users and holds more than the service's; {advice}"
        )


def own_entries(path: Path) -> list[Path]:
    """What the service keeps in its data folder, the database first."""
    return [path / f"{name}{end}" for name in _OWN_NAMES for end in ("", *_COMPANIONS)]


def database_files(url: str) -> list[Path]:
    """The file of a SQLite database, and those that belong to it; none of PostgreSQL."""
    if is_postgresql(url):
        return []
    path = sqlite_path(url)
    return [path, *(path.with_name(f"{path.name}{end}") for end in _COMPANIONS)]


async def make_private(paths: Iterable[Path], at_start: int = ENTRIES_AT_START) -> Iterator[bool]:
    """Take others' rights to files and folders away, those in them too; returns what was not looked at yet."""
    entries = restrict_to_owner(paths)
    closed = await asyncio.to_thread(lambda: sum(islice(entries, at_start)))
    if closed:
        logger.warning(
            "DATA_DIR: files and folders in it were open to other users (%d), and are not any more", closed
        )
    return entries


async def make_rest_private(entries: Iterator[bool]) -> None:
    """The same for what is left, little by little."""
    looked_at = ENTRIES_AT_ONCE
    while looked_at == ENTRIES_AT_ONCE:
        looked_at = await asyncio.to_thread(lambda: len(list(islice(entries, ENTRIES_AT_ONCE))))


def restrict_to_owner(paths: Iterable[Path]) -> Iterator[bool]:
    """Take others' rights away from each path and all that is in it, links left alone; whether that changed it."""
    folders = [iter(paths)]
    while folders:
        path = next(folders[-1], None)
        if path is None:
            folders.pop()
            continue
        try:
            facts = path.lstat()
            is_open = bool(facts.st_mode & OTHERS) and not stat.S_ISLNK(facts.st_mode)
            if is_open:
                _close(path)
            if stat.S_ISDIR(facts.st_mode):
                folders.append(_entries(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("DATA_DIR: %s stays as it is: %s", path, _reason(error))
            continue
        yield is_open


def _entries(folder: Path) -> Iterator[Path]:
    """A folder's entries one by one: there may be a million of them."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry.path)


def _close(path: Path) -> None:
    """Change the file that was looked at, and never what a link leads to."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) & ~OTHERS)
    finally:
        os.close(descriptor)


def _is_own(path: Path) -> bool:
    """Whether a folder holds nothing yet, or something of the service's: then it is nobody else's."""
    names = {entry.name for entry in path.iterdir()}
    return bool(names & set(_OWN_NAMES)) or all(name in _NOTHING or name.startswith(".") for name in names)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
