"""Uploads in parts into a folder: each part is received into a file of its own, then copied to its place in the whole.

An upload is a folder `parts-<id>`: `target` (the path that it is for), `size`, `each` (the length of its parts),
`bytes` (the whole), and an empty file named `<number>-<size>-<md5>` for each part that is there to its last byte.
`bytes` is written only under the folder's lock, and no process holds that lock while it waits for a client: once an
upload is complete, nobody has the published file open for writing.
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
from infra.storage.base import (
    CHUNK_BYTES,
    ChecksumMismatch,
    NoSuchUpload,
    Part,
    SizeMismatch,
    enforce_size,
    part_bytes,
)
from infra.storage.disk_reserve import DiskReserve, locked

_ID = re.compile(r"[0-9a-f]{32}")


class MultipartFolder:
    """The uploads under way; ids that are unknown, or for another object, raise NoSuchUpload."""

    def __init__(self, root: Path, reserve: DiskReserve) -> None:
        self._root = root
        self._reserve = reserve

    def create(self, target: Path, size: int) -> str:
        """A new upload for this path, of so many bytes; raises DiskFull."""
        upload_id = uuid.uuid4().hex
        folder = self._root / f"parts-{upload_id}"
        try:
            with self._reserve.checked():
                _create(folder, target, size)
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
        """Take in a part (its number, and its size in bytes) and return its ETag.

        `content_md5` is the header of that name, if one was sent. After SizeMismatch, ChecksumMismatch and
        DiskFull a part that was there before is unchanged. Raises NoSuchUpload once the upload is complete or aborted.
        """
        number, size = part
        folder = self._folder(target, upload_id)
        digest = hashlib.md5(usedforsecurity=False)
        try:
            async with self._reserve.receiving(size, folder) as file:
                async for chunk in enforce_size(chunks, size):
                    if not folder.exists():
                        raise NoSuchUpload
                    await asyncio.to_thread(file.write, chunk)
                    digest.update(chunk)
                md5 = base64.b64encode(digest.digest()).decode()
                if content_md5 is not None and content_md5.strip() != md5:
                    raise ChecksumMismatch
                await asyncio.to_thread(file.flush)
                await asyncio.to_thread(_place, folder, Path(file.name), number, digest.hexdigest())
        except FileNotFoundError:  # the folder went meanwhile
            raise NoSuchUpload from None
        return digest.hexdigest()

    def list_parts(self, target: Path, upload_id: str) -> list[Part]:
        """The parts that are there, by number."""
        return _parts(self._folder(target, upload_id))

    def complete(
        self, target: Path, upload_id: str, parts: Sequence[Part], move: Callable[[Path, Path], None]
    ) -> None:
        """Put the file in its place; SizeMismatch unless it is exactly these parts."""
        folder = self._folder(target, upload_id)
        try:
            with locked(folder):
                whole = folder / "bytes"
                sizes = {whole.stat().st_size, _announced(folder), sum(part.size for part in parts)}
                if _parts(folder) != list(parts) or len(sizes) > 1:
                    raise SizeMismatch
                move(whole, target)
        except (
            FileNotFoundError
        ):  # completed or given up by another just now, or by one who died before he cleaned up
            raise NoSuchUpload from None
        self._retire(folder)

    def abort(self, target: Path, upload_id: str) -> None:
        """Remove what has arrived, and end what is being received."""
        with suppress(NoSuchUpload):
            self._retire(self._folder(target, upload_id))

    def abort_under(self, prefix: Path) -> None:
        """Remove the uploads for paths under this one."""
        for marker in self._root.glob("parts-*/target"):
            with suppress(FileNotFoundError):
                if Path(marker.read_text()).is_relative_to(prefix):
                    self._retire(marker.parent)

    def remove_abandoned(self, older_than_seconds: float) -> int:
        """Remove uploads of which nothing has come for so long, and what others left of theirs; how many."""
        for left in self._root.glob("retired-*"):
            shutil.rmtree(left, ignore_errors=True)
        swept = 0
        for folder in self._root.glob("parts-*"):
            with suppress(FileNotFoundError):
                if _changed_at(folder) < time.time() - older_than_seconds:
                    self._retire(folder)
                    swept += 1
        return swept

    def _retire(self, folder: Path) -> None:
        """Take an upload away at once, and then its bytes: whoever still sends to it finds it gone."""
        retired = self._root / f"retired-{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):
            with locked(folder):
                folder.rename(retired)
            shutil.rmtree(retired, ignore_errors=True)

    def _folder(self, target: Path, upload_id: str) -> Path:
        folder = self._root / f"parts-{upload_id}"
        with suppress(FileNotFoundError):
            if _ID.fullmatch(upload_id) and (folder / "target").read_text() == str(target):
                return folder
        raise NoSuchUpload


def _create(folder: Path, target: Path, size: int) -> None:
    folder.mkdir(mode=0o700)
    (folder / "bytes").touch(mode=0o600)
    for name, value in (("each", part_bytes(size)), ("size", size), ("target", target)):
        write_private(folder / name, str(value))


def _place(folder: Path, part: Path, number: int, etag: str) -> None:
    """Copy a part that was received to its place in the whole, and say that it is there."""
    with locked(folder), part.open("rb") as source, (folder / "bytes").open("r+b") as whole:
        _forget(folder, number)
        whole.seek((number - 1) * int((folder / "each").read_text()))
        shutil.copyfileobj(source, whole, CHUNK_BYTES)
        size = source.tell()
        whole.flush()
        os.fsync(whole.fileno())
        (folder / f"{number}-{size}-{etag}").touch(mode=0o600)


def _announced(folder: Path) -> int:
    """How long the whole is to be; an upload of an earlier version does not say so."""
    try:
        return int((folder / "size").read_text())
    except FileNotFoundError:
        return (folder / "bytes").stat().st_size


def _changed_at(folder: Path) -> float:
    """When the last part was placed; that what the dead have left is removed changes nothing."""
    changed = folder.stat().st_mtime
    with suppress(FileNotFoundError):
        changed = min(changed, (folder / "bytes").stat().st_mtime)
    return changed


def _parts(folder: Path) -> list[Part]:
    found = []
    with suppress(FileNotFoundError):
        for marker in folder.iterdir():
            number, dash, rest = marker.name.partition("-")
            if dash and marker.suffix != ".part":
                size, _, etag = rest.partition("-")
                found.append(Part(int(number), int(size), etag))
    return sorted(found, key=lambda part: part.number)


def _forget(folder: Path, number: int) -> None:
    for marker in folder.glob(f"{number}-*"):
        marker.unlink(missing_ok=True)
