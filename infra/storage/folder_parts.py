"""Multipart uploads into a folder: receive each part into its own file, then copy it into the whole.

An upload is a folder `parts-<id>`: `target` (the path of the object), `size`, `each` (the size of its parts), `bytes`
(the whole), and an empty file named `<number>-<size>-<md5>` for each received part. `bytes` is written only under the
folder's lock, and no process waits for a client while it has that lock. So no process has the file open for writing
once the object is published.
"""

import asyncio
import base64
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from infra.private_files import write_private
from infra.storage.base import CHUNK_BYTES, Part, enforce_size, part_bytes
from infra.storage.disk_reserve import DiskReserve, lock_folder
from infra.storage.errors import ChecksumMismatch, NoSuchUpload, SizeMismatch

_ID = re.compile(r"[0-9a-f]{32}")


class MultipartFolder:
    """The unfinished uploads; an id that is unknown or for another object raises NoSuchUpload."""

    def __init__(self, root: Path, reserve: DiskReserve) -> None:
        self._root = root
        self._reserve = reserve

    def create(self, target: Path, size: int) -> str:
        """Create an upload of `size` bytes to this path and return its id; raises DiskFull."""
        upload_id = uuid.uuid4().hex
        folder = self._root / f"parts-{upload_id}"
        try:
            with self._reserve.lock_and_check():
                _create_folder(folder, target, size)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return upload_id

    async def receive_part(
        self,
        target: Path,
        upload_id: str,
        part: tuple[int, int],
        chunks: AsyncIterator[bytes],
        content_md5: str | None,
    ) -> str:
        """Receive a part (its number, its size in bytes) and return its ETag.

        `content_md5` is the request header of that name. SizeMismatch, ChecksumMismatch and DiskFull leave a part
        that was received before unchanged. Raises NoSuchUpload as soon as the upload is complete or aborted.
        """
        number, size = part
        folder = self._find_folder(target, upload_id)
        digest = hashlib.md5(usedforsecurity=False)
        try:
            async with self._reserve.open_temporary(size, folder) as file:
                async for chunk in enforce_size(chunks, size):
                    if not folder.exists():
                        raise NoSuchUpload
                    await asyncio.to_thread(file.write, chunk)
                    digest.update(chunk)
                md5 = base64.b64encode(digest.digest()).decode()
                if content_md5 is not None and content_md5.strip() != md5:
                    raise ChecksumMismatch
                await asyncio.to_thread(file.flush)
                await asyncio.to_thread(_copy_part, folder, Path(file.name), number, digest.hexdigest())
        except FileNotFoundError:  # the folder was removed during the transfer
            raise NoSuchUpload from None
        return digest.hexdigest()

    def list_parts(self, target: Path, upload_id: str) -> list[Part]:
        """Return the received parts, ordered by number."""
        return _read_parts(self._find_folder(target, upload_id))

    def complete(
        self, target: Path, upload_id: str, parts: Sequence[Part], move: Callable[[Path, Path], None]
    ) -> None:
        """Move the whole to its target; raises SizeMismatch unless it has exactly these parts."""
        folder = self._find_folder(target, upload_id)
        try:
            with lock_folder(folder):
                whole = folder / "bytes"
                sizes = {whole.stat().st_size, _read_size(folder), sum(part.size for part in parts)}
                if _read_parts(folder) != list(parts) or len(sizes) > 1:
                    raise SizeMismatch
                move(whole, target)
        except FileNotFoundError:
            # Another process has just completed or aborted it, or died between the move and the removal.
            raise NoSuchUpload from None
        self._remove(folder)

    def abort(self, target: Path, upload_id: str) -> None:
        """Remove the received parts; parts in transfer then fail."""
        with suppress(NoSuchUpload):
            self._remove(self._find_folder(target, upload_id))

    def abort_below(self, prefix: Path) -> None:
        """Abort all uploads to paths below this one."""
        for marker in self._root.glob("parts-*/target"):
            with suppress(FileNotFoundError):
                if Path(marker.read_text()).is_relative_to(prefix):
                    self._remove(marker.parent)

    def abort_abandoned(self, older_than_seconds: float) -> int:
        """Abort uploads that have received nothing for this long and return their number."""
        for retired in self._root.glob("retired-*"):  # left by a process that died in `_remove`
            shutil.rmtree(retired, ignore_errors=True)
        removed = 0
        for folder in self._root.glob("parts-*"):
            with suppress(FileNotFoundError):
                if _last_change(folder) < time.time() - older_than_seconds:
                    self._remove(folder)
                    removed += 1
        return removed

    def _remove(self, folder: Path) -> None:
        """Rename an upload so that senders no longer find it, then delete its bytes."""
        retired = self._root / f"retired-{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):
            with lock_folder(folder):
                folder.rename(retired)
            shutil.rmtree(retired, ignore_errors=True)

    def _find_folder(self, target: Path, upload_id: str) -> Path:
        folder = self._root / f"parts-{upload_id}"
        with suppress(FileNotFoundError):
            if _ID.fullmatch(upload_id) and (folder / "target").read_text() == str(target):
                return folder
        raise NoSuchUpload


def _create_folder(folder: Path, target: Path, size: int) -> None:
    folder.mkdir(mode=0o700)
    (folder / "bytes").touch(mode=0o600)
    for name, value in (("each", part_bytes(size)), ("size", size), ("target", target)):
        write_private(folder / name, str(value))


def _copy_part(folder: Path, part: Path, number: int, etag: str) -> None:
    """Copy a received part to its offset in the whole, then mark it as received."""
    with lock_folder(folder), part.open("rb") as source, (folder / "bytes").open("r+b") as whole:
        _remove_markers(folder, number)
        whole.seek((number - 1) * int((folder / "each").read_text()))
        shutil.copyfileobj(source, whole, CHUNK_BYTES)
        size = source.tell()
        whole.flush()
        os.fsync(whole.fileno())
        (folder / f"{number}-{size}-{etag}").touch(mode=0o600)


def _read_size(folder: Path) -> int:
    """Return the size of the object; uploads from before an upgrade did not store it."""
    try:
        return int((folder / "size").read_text())
    except FileNotFoundError:
        return (folder / "bytes").stat().st_size


def _last_change(folder: Path) -> float:
    """Return when the last part was received; removing stale files changes only the folder's own time."""
    changed_at = folder.stat().st_mtime
    with suppress(FileNotFoundError):
        changed_at = min(changed_at, (folder / "bytes").stat().st_mtime)
    return changed_at


def _read_parts(folder: Path) -> list[Part]:
    parts = []
    with suppress(FileNotFoundError):
        for marker in folder.iterdir():
            number, dash, rest = marker.name.partition("-")
            if dash and marker.suffix != ".part":
                size, _, etag = rest.partition("-")
                parts.append(Part(int(number), int(size), etag))
    return sorted(parts, key=lambda part: part.number)


def _remove_markers(folder: Path, number: int) -> None:
    for marker in folder.glob(f"{number}-*"):
        marker.unlink(missing_ok=True)
