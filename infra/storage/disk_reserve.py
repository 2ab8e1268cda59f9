"""Reserve disk space for files that are being received, so that together they never fill the disk.

A reservation is a file named `<id>-<bytes>.part`, locked by the process that writes it. A process that dies loses the
lock, and with it the reservation, for every replica. A multipart upload is a folder, which reserves what its parts
still need while parts keep coming. Only bytes that are reserved and not yet on the disk are counted.
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
from infra.storage.base import CONCURRENT_PARTS
from infra.storage.errors import DiskFull

MIN_FREE_BYTES = 256 * 2**20
"""The space that stays free for the database, the logs and other programs."""
ACTIVE_SECONDS = 900.0
"""A multipart upload that has received nothing for this long reserves nothing until its next part."""

_RESERVATION = re.compile(r"[0-9a-f]{32}-(\d+)\.part")
_BLOCK_BYTES = 512  # the unit of st_blocks, which is not the block size of the file system


class DiskReserve:
    """The reservations in one folder, shared by every process that uses it.

    `min_free_bytes` of the disk stay free; `free_bytes` returns what is free on the disk of a folder.
    """

    def __init__(
        self,
        folder: Path,
        min_free_bytes: int = MIN_FREE_BYTES,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        make_private_folder(folder)
        self._folder = folder
        self._free_bytes = free_bytes
        self._min_free_bytes = min_free_bytes

    def create_file(self, size: int, folder: Path | None = None) -> BinaryIO:
        """Create a private file that reserves `size` bytes, optionally in the folder of an upload.

        Raises DiskFull; FileNotFoundError if the upload's folder does not exist.
        """
        path = (folder or self._folder) / f"{uuid.uuid4().hex}-{size}.part"
        with lock_folder(self._folder):
            file = open(path, "xb", opener=open_private)  # noqa: SIM115 - Path.open takes no opener
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._available_bytes() < 0:
                remove_file(file)
                raise DiskFull
        return file

    @asynccontextmanager
    async def open_temporary(self, size: int, folder: Path | None = None) -> AsyncIterator[BinaryIO]:
        """Yield a file from `create_file` and remove it at the end; to keep it, move it away."""
        opening = asyncio.ensure_future(asyncio.to_thread(self.create_file, size, folder))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_remove_result)
            raise
        try:
            with convert_full_disk():
                yield file
        finally:
            remove_file(file)

    def check(self, size: int) -> None:
        """Raise DiskFull unless `size` bytes could be reserved now."""
        with lock_folder(self._folder):
            if self._available_bytes() < size:
                raise DiskFull

    def check_other_disk(self, folder: Path) -> None:
        """Raise DiskFull unless the disk of another folder has the space that stays free."""
        if self._free_bytes(folder) < self._min_free_bytes:
            raise DiskFull

    @contextmanager
    def lock_and_check(self) -> Iterator[None]:
        """Block other reservations; at the end raise DiskFull if the block reserved too much."""
        with lock_folder(self._folder), convert_full_disk():
            yield
            if self._available_bytes() < 0:
                raise DiskFull

    def remove_stale_files(self, older_than_seconds: float) -> int:
        """Remove the files of dead processes, and all others of this age; return their number."""
        with lock_folder(self._folder):
            removed = sum(_scan(folder).removed for folder in (self._folder, *self._folder.glob("parts-*")))
            for path in self._folder.iterdir():
                if not path.is_dir() and _is_stale(path, older_than_seconds):
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _available_bytes(self) -> int:
        """Return the free space less all reservations; also removes the files of dead processes."""
        reserved = _scan(self._folder).missing_bytes
        reserved += sum(_upload_bytes(folder) for folder in self._folder.glob("parts-*"))
        return self._free_bytes(self._folder) - self._min_free_bytes - reserved


@contextmanager
def convert_full_disk() -> Iterator[None]:
    """Raise DiskFull in place of the OSError of a full disk or an exhausted quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull("the disk of the data folder is full") from error


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep a folder locked; raises FileNotFoundError if it does not exist."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_file(file: BinaryIO) -> None:
    """Remove and close a file from `create_file`, which ends its reservation."""
    Path(file.name).unlink(missing_ok=True)
    file.close()


def _remove_result(opening: "asyncio.Future[BinaryIO]") -> None:
    """Remove a file whose caller was cancelled while it was created."""
    if not opening.cancelled() and opening.exception() is None:
        remove_file(opening.result())


@dataclass
class _Scan:
    """The reservations of the files directly in a folder, and how many stale files were removed."""

    reserved_bytes: int = 0
    written_bytes: int = 0
    removed: int = 0

    @property
    def missing_bytes(self) -> int:
        return max(0, self.reserved_bytes - self.written_bytes)


def _scan(folder: Path) -> _Scan:
    """Sum the reservations in a folder, and remove those of dead processes.

    The caller has the lock of the reserve's folder.
    """
    scan = _Scan()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = _RESERVATION.fullmatch(entry.name)
            if match is None or entry.is_symlink():
                continue
            with suppress(FileNotFoundError):
                if _is_unlocked(Path(entry.path)):
                    Path(entry.path).unlink()
                    scan.removed += 1
                else:
                    scan.reserved_bytes += int(match[1])
                    scan.written_bytes += min(int(match[1]), _disk_usage(Path(entry.path)))
    return scan


def _upload_bytes(folder: Path) -> int:
    """Return what a multipart upload still needs: missing parts, and copies of parts in transfer."""
    with suppress(FileNotFoundError, ValueError):
        parts = _scan(folder)
        is_idle = time.time() - (folder / "bytes").stat().st_mtime > ACTIVE_SECONDS
        if is_idle and not parts.reserved_bytes:
            return 0
        size = int((folder / "size").read_text())
        copies = max(parts.reserved_bytes, min(size, CONCURRENT_PARTS * int((folder / "each").read_text())))
        return max(0, size - _disk_usage(folder / "bytes")) + copies - parts.written_bytes
    return 0


def _disk_usage(path: Path) -> int:
    """Return the disk space of a file in bytes, without its holes."""
    return path.stat().st_blocks * _BLOCK_BYTES


def _is_stale(path: Path, seconds: float) -> bool:
    """Return whether a file without a reservation has this age.

    A second name for a published file (`.held`) is as old as the name, which only the ctime shows.
    """
    with suppress(FileNotFoundError):
        status = path.lstat()
        changed_at = status.st_ctime if path.suffix == ".held" else status.st_mtime
        return _RESERVATION.fullmatch(path.name) is None and changed_at < time.time() - seconds
    return False


def _is_unlocked(path: Path) -> bool:
    """Return whether no process writes the file any more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)
