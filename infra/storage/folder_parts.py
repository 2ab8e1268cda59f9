"""Uploads in parts into a folder: each part is written at its place in one file, so completing it copies nothing.

An upload is a folder `parts-<id>`: `target` (the path that it is for), `each` (the length of its parts), `bytes`, and
an empty file named `<number>-<size>-<md5>` for each part that is there to its last byte.
"""

import asyncio
import base64
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from infra.storage.base import Damaged, NoSuchUpload, Part, WrongLength, part_bytes

_ID = re.compile(r"[0-9a-f]{32}")


class PartsFolder:
    """The uploads under way; ids that are unknown, or for another object, raise NoSuchUpload."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self, target: Path, size: int) -> str:
        """A new upload for this path, of so many bytes."""
        upload_id = uuid.uuid4().hex
        folder = self._root / f"parts-{upload_id}"
        folder.mkdir()
        (folder / "bytes").touch()
        (folder / "each").write_text(str(part_bytes(size)))
        (folder / "target").write_text(str(target))
        return upload_id

    async def receive(
        self,
        target: Path,
        upload_id: str,
        part: tuple[int, int],
        chunks: AsyncIterator[bytes],
        content_md5: str | None,
    ) -> str:
        """Write a part (its number, and its size in bytes) and return its ETag; WrongLength, Damaged: it is not there.

        `content_md5` is the header of that name, if one was sent.
        """
        number, size = part
        folder = self._folder(target, upload_id)
        offset = (number - 1) * int((folder / "each").read_text())
        _forget(folder, number)
        digest = hashlib.md5(usedforsecurity=False)
        received = 0
        descriptor = os.open(folder / "bytes", os.O_WRONLY)
        try:
            async for chunk in chunks:
                if received + len(chunk) > size:
                    raise WrongLength
                await asyncio.to_thread(_write_at, descriptor, chunk, offset + received)
                digest.update(chunk)
                received += len(chunk)
            if received != size:
                raise WrongLength
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)
        if content_md5 is not None and base64.b64encode(digest.digest()).decode() != content_md5.strip():
            raise Damaged
        (folder / f"{number}-{size}-{digest.hexdigest()}").touch()
        return digest.hexdigest()

    def arrived(self, target: Path, upload_id: str) -> list[Part]:
        """The parts that are there, by number."""
        return _parts(self._folder(target, upload_id))

    def complete(
        self, target: Path, upload_id: str, parts: Sequence[Part], move: Callable[[Path, Path], None]
    ) -> None:
        """Put the file in its place; WrongLength unless it is exactly these parts."""
        folder = self._folder(target, upload_id)
        whole = folder / "bytes"
        if _parts(folder) != list(parts) or whole.stat().st_size != sum(part.size for part in parts):
            raise WrongLength
        move(whole, target)
        shutil.rmtree(folder, ignore_errors=True)

    def abort(self, target: Path, upload_id: str) -> None:
        """Remove what has arrived."""
        try:
            shutil.rmtree(self._folder(target, upload_id), ignore_errors=True)
        except NoSuchUpload:
            return

    def abort_under(self, prefix: Path) -> None:
        """Remove the uploads for paths under this one."""
        for marker in self._root.glob("parts-*/target"):
            with suppress(FileNotFoundError):
                if Path(marker.read_text()).is_relative_to(prefix):
                    shutil.rmtree(marker.parent, ignore_errors=True)

    def _folder(self, target: Path, upload_id: str) -> Path:
        folder = self._root / f"parts-{upload_id}"
        with suppress(FileNotFoundError):
            if _ID.fullmatch(upload_id) and (folder / "target").read_text() == str(target):
                return folder
        raise NoSuchUpload


def _parts(folder: Path) -> list[Part]:
    found = []
    for marker in folder.iterdir():
        number, dash, rest = marker.name.partition("-")
        if dash:
            size, _, etag = rest.partition("-")
            found.append(Part(int(number), int(size), etag))
    return sorted(found, key=lambda part: part.number)


def _forget(folder: Path, number: int) -> None:
    for marker in folder.glob(f"{number}-*"):
        marker.unlink(missing_ok=True)


def _write_at(descriptor: int, chunk: bytes, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
