"""A lock file: one process per folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.private_files import open_private


class LockTaken(Exception):
    """Another process has locked the folder."""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Lock a file until the block or the process ends. Raises LockTaken if another process has it."""
    with open(path, "a", opener=open_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LockTaken from error
        yield
