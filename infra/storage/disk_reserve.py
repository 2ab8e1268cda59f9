"""Room on a disk that is promised to files on their way, so that together they never fill it.

A promise is a file named `<id>-<bytes>.part`, locked by the process that fills it. A process that dies loses its lock,
and with it the promise, whichever replica looks next. An upload in parts is a folder, and promises what its parts still
need for as long as parts keep coming. What counts is what was promised and is not on the disk yet.
"""

import asyncio
import errno
import fcntl
import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from infra.private_files import make_private_folder, open_private
from infra.storage.base import CONCURRENT_PARTS, DiskFull

KEEP_BYTES = 256 * 2**20
"""What stays free for the database, the logs and everybody else on the machine."""
ACTIVE_SECONDS = 900.0
"""An upload in parts of which nothing has come for so long promises nothing until the next part."""

_PROMISE = re.compile(r"[0-9a-f]{32}-(\d+)\.part")
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are


class DiskReserve:
    """The promises in one folder, shared by every process that uses it.

    `keep_bytes` of the disk stay free; `free_bytes` tells what is free on the disk of a folder.
    """

    def __init__(
        self,
        folder: Path,
        keep_bytes: int = KEEP_BYTES,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        make_private_folder(folder)
        self._folder = folder
        self._free_bytes = free_bytes
        self._keep_bytes = keep_bytes

    def open_file(self, size: int, folder: Path | None = None) -> BinaryIO:
        """Create a private file that `size` bytes are promised to, beside others or in an upload's own folder.

        Raises DiskFull; FileNotFoundError if the upload's folder is gone.
        """
        path = (folder or self._folder) / f"{uuid.uuid4().hex}-{size}.part"
        with locked(self._folder):
            file = open(path, "xb", opener=open_private)  # noqa: SIM115 - Path.open takes no opener
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._spare_bytes() < 0:
                remove(file)
                raise DiskFull
        return file

    @asynccontextmanager
    async def receiving(self, size: int, folder: Path | None = None) -> AsyncIterator[BinaryIO]:
        """The same file for as long as the block lasts; whoever wants to keep it moves it away."""
        opening = asyncio.ensure_future(asyncio.to_thread(self.open_file, size, folder))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_remove_result)
            raise
        try:
            with _full_disk_told():
                yield file
        finally:
            remove(file)

    def check(self, size: int) -> None:
        """Raise DiskFull unless a file of `size` bytes could be begun now."""
        with locked(self._folder):
            if self._spare_bytes() < size:
                raise DiskFull

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Let nobody else promise anything while the block does; raises DiskFull if it was too much."""
        with locked(self._folder), _full_disk_told():
            yield
            if self._spare_bytes() < 0:
                raise DiskFull

    def remove_dead_files(self, older_than_seconds: float) -> int:
        """Remove the files of processes that died, and whatever else lies there for so long; how many there were."""
        with locked(self._folder):
            removed = sum(_scan(folder).removed for folder in (self._folder, *self._folder.glob("parts-*")))
            for path in self._folder.iterdir():
                if not path.is_dir() and _is_old(path, older_than_seconds):
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _spare_bytes(self) -> int:
        """What is free beyond the reserve and all promises; also removes what the dead have left."""
        promised = _scan(self._folder).missing_bytes
        promised += sum(_upload_bytes(folder) for folder in self._folder.glob("parts-*"))
        return self._free_bytes(self._folder) - self._keep_bytes - promised


@contextmanager
def _full_disk_told() -> Iterator[None]:
    """Raise DiskFull for what a disk or a quota without room answers."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; raises FileNotFoundError if there is no such folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(file: BinaryIO) -> None:
    """Remove a file that was opened here, and the promise with it."""
    Path(file.name).unlink(missing_ok=True)
    file.close()


def _remove_result(opening: "asyncio.Future[BinaryIO]") -> None:
    """Nobody waits for the file any more."""
    if not opening.cancelled() and opening.exception() is None:
        remove(opening.result())


@dataclass
class _Scan:
    announced_bytes: int = 0
    written_bytes: int = 0
    removed: int = 0

    @property
    def missing_bytes(self) -> int:
        return max(0, self.announced_bytes - self.written_bytes)


def _scan(folder: Path) -> _Scan:
    """The promises of files right in a folder; those of the dead are removed. The reserve's lock is held."""
    scan = _Scan()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = _PROMISE.fullmatch(entry.name)
            if match is None or entry.is_symlink():
                continue
            with suppress(FileNotFoundError):
                if _is_dead(Path(entry.path)):
                    Path(entry.path).unlink()
                    scan.removed += 1
                else:
                    scan.announced_bytes += int(match[1])
                    scan.written_bytes += min(int(match[1]), _taken_bytes(Path(entry.path)))
    return scan


def _upload_bytes(folder: Path) -> int:
    """What an upload in parts still needs: its missing parts, and the copies of those that are being received."""
    with suppress(FileNotFoundError, ValueError):
        parts = _scan(folder)
        idle = time.time() - (folder / "bytes").stat().st_mtime > ACTIVE_SECONDS
        if idle and not parts.announced_bytes:
            return 0
        size = int((folder / "size").read_text())
        copies = max(parts.announced_bytes, min(size, CONCURRENT_PARTS * int((folder / "each").read_text())))
        return max(0, size - _taken_bytes(folder / "bytes")) + copies - parts.written_bytes
    return 0


def _taken_bytes(path: Path) -> int:
    """What a file takes of the disk, holes left out."""
    return path.stat().st_blocks * _BLOCK_BYTES


def _is_old(path: Path, seconds: float) -> bool:
    """Whether a file that promises nothing was left here; a second name for an old file is as old as the name."""
    with suppress(FileNotFoundError):
        facts = path.lstat()
        changed_at = facts.st_ctime if path.suffix == ".held" else facts.st_mtime
        return _PROMISE.fullmatch(path.name) is None and changed_at < time.time() - seconds
    return False


def _is_dead(path: Path) -> bool:
    """Whether nobody fills the file any more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
