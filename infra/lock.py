"""One process to a folder, for as long as it lives."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.private_files import open_private


class LockTaken(Exception):
    """Another process holds the folder."""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock file until the block, or the process, ends; raises LockTaken if somebody else does."""
    with open(path, "a", opener=open_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LockTaken from error
        yield
