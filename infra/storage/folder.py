"""Objects in a folder, keyed by user: written beside and renamed into place, so that none is ever seen half done."""

import asyncio
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from infra.storage.base import (
    CHUNK_BYTES,
    Obstructed,
    OutsideStorage,
    Part,
    Signed,
    Stored,
    WrongLength,
    object_name,
    user_folder,
)
from infra.storage.folder_parts import PartsFolder
from infra.storage.signed import Grant, SignedUrls

_ABANDONED_SECONDS = 2 * 86_400.0


class FolderStorage:
    """The local folder: `root/objects/{user}/{key}`. Without `urls` it can't hand out any."""

    def __init__(self, root: Path, urls: SignedUrls | None = None) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()
        self.urls = urls
        for folder in (self._objects, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        _sweep(self._incoming)
        self.parts = PartsFolder(self._incoming)

    def path(self, user_id: str, key: str) -> Path:
        """Where a user's object lies or will lie; OutsideStorage if the key or a link leads elsewhere."""
        home = self._objects / user_folder(user_id)
        path = self._objects / object_name(user_id, key)
        try:
            inside = path.resolve().is_relative_to(home.resolve())
        except (OSError, RuntimeError):  # links in a circle
            raise OutsideStorage from None
        if not inside:
            raise OutsideStorage
        return path

    def local_path(self, user_id: str, key: str) -> Path:
        return self.path(user_id, key)

    def obstructed(self, user_id: str, key: str) -> bool:
        path = self.path(user_id, key)
        above = path.parents[: key.count("/")]
        return path.is_dir() or any(folder.exists() and not folder.is_dir() for folder in above)

    def free_bytes(self) -> int:
        """What the disk still holds."""
        return shutil.disk_usage(self._objects).free

    async def find(self, user_id: str, key: str) -> Stored | None:
        try:
            path = self.path(user_id, key)
            facts = path.stat()
        except (OSError, OutsideStorage):
            return None
        if not path.is_file():
            return None
        etag = f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
        return Stored(facts.st_size, facts.st_mtime, etag)

    async def read_url(
        self, user_id: str, key: str, *, expires_seconds: int, filename: str | None = None
    ) -> Signed:
        self.path(user_id, key)
        return self._signed(Grant("read", user_id, key, filename=filename), expires_seconds)

    async def write_url(
        self, user_id: str, key: str, *, size: int, content_type: str, expires_seconds: int
    ) -> Signed:
        self.path(user_id, key)
        return self._signed(Grant("write", user_id, key, size, content_type), expires_seconds)

    async def begin(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del content_type, checksum  # a file has neither; `holds` reads it instead
        return self.parts.begin(self.path(user_id, key), size)

    async def part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> Signed:
        grant = Grant("part", user_id, key, size, upload_id=upload_id, number=number)
        return self._signed(grant, expires_seconds)

    async def arrived(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        return await asyncio.to_thread(self.parts.arrived, self.path(user_id, key), upload_id)

    async def complete(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        target = self.path(user_id, key)
        await asyncio.to_thread(self.parts.complete, target, upload_id, parts, _move)

    async def abort(self, user_id: str, key: str, upload_id: str) -> None:
        await asyncio.to_thread(self.parts.abort, self.path(user_id, key), upload_id)

    async def receive(self, user_id: str, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store a body of exactly `size` bytes under the key; WrongLength leaves what was there before."""
        target = self.path(user_id, key)
        part = self._incoming / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                received = 0
                async for chunk in chunks:
                    received += len(chunk)
                    if received > size:
                        raise WrongLength
                    await asyncio.to_thread(file.write, chunk)
                if received != size:
                    raise WrongLength
                await asyncio.to_thread(_flush, file.fileno())
            await asyncio.to_thread(_move, part, target)
        finally:
            part.unlink(missing_ok=True)

    async def holds(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        return await asyncio.to_thread(_holds, self.path(user_id, key), size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = self.path(user_id, written_key), self.path(user_id, key)
        return await asyncio.to_thread(_publish, source, target, size, checksum)

    async def discard(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        path = self.path(user_id, key)
        with suppress(FileNotFoundError):
            if checksum is None or await asyncio.to_thread(_checksum, path) == checksum:
                path.unlink()

    async def discard_folder(self, user_id: str, key: str) -> None:
        folder = self.path(user_id, key)
        await asyncio.to_thread(self.parts.abort_under, folder)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def check(self) -> None:
        """Raise OSError if the folder can't be written."""
        probe = self._incoming / f"{uuid.uuid4().hex}.probe"
        try:
            await asyncio.to_thread(probe.write_bytes, b"ok")
        finally:
            probe.unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is held open."""

    def _signed(self, grant: Grant, expires_seconds: int) -> Signed:
        if self.urls is None:
            raise RuntimeError("this folder was given no way to sign URLs")
        return self.urls.sign(grant, expires_seconds)


def _sweep(incoming: Path) -> None:
    """Remove uploads that nobody has gone on with: their URLs have long expired."""
    for path in incoming.iterdir():
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _publish(source: Path, target: Path, size: int, checksum: str) -> bool:
    try:
        if not _is(source, size, checksum):
            return False
        _move(source, target)
    except FileNotFoundError:  # done before, or just now by another who was told the same
        return _holds(target, size, checksum)
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        raise Obstructed from None
    return True


def _holds(path: Path, size: int, checksum: str) -> bool:
    try:
        return _is(path, size, checksum)
    except FileNotFoundError:
        return False


def _is(path: Path, size: int, checksum: str) -> bool:
    return path.stat().st_size == size and _checksum(path) == checksum


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        _flush(folder)
    finally:
        os.close(folder)


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
