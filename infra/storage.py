"""Objects in a folder, keyed by user: written beside and renamed into place, so that none is ever seen half done."""

import asyncio
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_CHUNK_BYTES = 1024 * 1024
_PLAIN_USER = re.compile(r"[A-Za-z0-9_@%~-][A-Za-z0-9._@%~-]{0,127}")


class OutsideStorage(Exception):
    """A key leads out of its user's part of the storage."""


class WrongLength(Exception):
    """A body is not as long as was agreed."""


@dataclass(frozen=True)
class Stored:
    """What is stored under a key: size in bytes, time of the last change in seconds since the epoch."""

    path: Path
    size: int
    modified_at: float


class FolderStorage:
    """The local folder: `root/objects/{user}/{key}`."""

    def __init__(self, root: Path) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()
        for folder in (self._objects, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, user_id: str, key: str) -> Path:
        """Where a user's object lies or will lie; OutsideStorage if the key or a link leads elsewhere."""
        home = self._objects / _user_folder(user_id)
        path = home / key
        if "\0" in key or not path.resolve().is_relative_to(home.resolve()) or ".." in path.parts:
            raise OutsideStorage
        return path

    async def find(self, user_id: str, key: str) -> Stored | None:
        """What is stored under the key, or None."""
        try:
            path = self.path(user_id, key)
            facts = path.stat()
        except (OSError, OutsideStorage):
            return None
        return Stored(path, facts.st_size, facts.st_mtime) if path.is_file() else None

    async def receive(self, user_id: str, key: str, chunks: AsyncIterator[bytes], size: int) -> None:
        """Store a body of exactly `size` bytes under the key; WrongLength leaves what was there before."""
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
            await asyncio.to_thread(_move, part, self.path(user_id, key))
        finally:
            part.unlink(missing_ok=True)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        """Swap what an attempt wrote into its place; False unless it is there and is what was promised.

        May be repeated: an object that already lies in its place counts.
        """
        source, target = self.path(user_id, written_key), self.path(user_id, key)
        return await asyncio.to_thread(_publish, source, target, size, checksum)

    async def discard(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        """Remove an object if it is there (and, when a checksum is given, if it is that object)."""
        path = self.path(user_id, key)
        if checksum is None or await asyncio.to_thread(_checksum, path) == checksum:
            path.unlink(missing_ok=True)

    async def discard_folder(self, user_id: str, key: str) -> None:
        """Remove everything under a key."""
        await asyncio.to_thread(shutil.rmtree, self.path(user_id, key), ignore_errors=True)

    async def check(self) -> None:
        """Raise OSError if the folder can't be written."""
        probe = self._incoming / f"{uuid.uuid4().hex}.probe"
        try:
            await asyncio.to_thread(probe.write_bytes, b"ok")
        finally:
            probe.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """What the disk still holds."""
        return shutil.disk_usage(self._objects).free


def _user_folder(user_id: str) -> str:
    name = quote(user_id, safe="@")
    if _PLAIN_USER.fullmatch(name):
        return name
    return "~" + hashlib.sha256(user_id.encode()).hexdigest()


def _publish(source: Path, target: Path, size: int, checksum: str) -> bool:
    found = source if source.is_file() else target
    try:
        if found.stat().st_size != size or _checksum(found) != checksum:
            return False
        if found is source:
            _move(source, target)
    except FileNotFoundError:
        return False
    return True


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


def _checksum(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return None
    return f"sha256:{digest.hexdigest()}"
