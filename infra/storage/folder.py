"""Objects in a folder, keyed by user: written beside and renamed into place, so that none is ever seen half done."""

import asyncio
import errno
import filecmp
import hashlib
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from infra.private_files import make_private_folder
from infra.storage.base import (
    ABANDONED_SECONDS,
    CHUNK_BYTES,
    AlreadyStored,
    FileDownload,
    Obstructed,
    OutsideStorage,
    Part,
    Signed,
    Stored,
    object_name,
    until_whole,
    user_folder,
)
from infra.storage.disk_reserve import DiskReserve
from infra.storage.folder_parts import PartsFolder
from infra.storage.signed import Grant, SignedUrls


class FolderStorage:
    """The local folder: `root/objects/{user}/{key}`. Without `urls` it can't hand out any."""

    def __init__(self, root: Path, urls: SignedUrls | None = None) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()
        self.urls = urls
        for folder in (self._objects, self._incoming):
            make_private_folder(folder)
        self.reserve = DiskReserve(self._incoming)
        self.parts = PartsFolder(self._incoming, self.reserve)

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

    async def check_room(self, size: int) -> None:
        await asyncio.to_thread(self.reserve.check, size)

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

    async def open_download(
        self, user_id: str, key: str, *, filename: str, expires_seconds: int
    ) -> FileDownload | None:
        del filename, expires_seconds  # the service names the file, in a response of its own
        stored = await self.find(user_id, key)
        return FileDownload(stored, self.path(user_id, key)) if stored else None

    async def write_url(
        self, user_id: str, key: str, *, size: int, content_type: str, expires_seconds: int
    ) -> Signed:
        self.path(user_id, key)
        return self._signed(Grant("write", user_id, key, size, content_type), expires_seconds)

    async def begin(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del content_type, checksum  # a file has neither; `holds` reads it instead
        return await asyncio.to_thread(self.parts.begin, self.path(user_id, key), size)

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

    async def receive(
        self, user_id: str, key: str, chunks: AsyncIterator[bytes], size: int, *, replace: bool = True
    ) -> None:
        """Store a body of exactly `size` bytes under the key; WrongLength and DiskFull leave what was there before.

        Unless it may `replace` what is there, raises AlreadyStored for another content than that.
        """
        target = self.path(user_id, key)
        async with self.reserve.receiving(size) as file:
            async for chunk in until_whole(chunks, size):
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
            put = _move if replace else _put_once
            await asyncio.to_thread(put, Path(file.name), target)

    async def holds(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        return await asyncio.to_thread(_holds, self.path(user_id, key), size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = self.path(user_id, written_key), self.path(user_id, key)
        abandoned = threading.Event()  # a thread can't be cancelled, but must not move anything later
        try:
            return await asyncio.to_thread(
                _publish, self._incoming, source, target, size, checksum, abandoned.is_set
            )
        finally:
            abandoned.set()

    async def discard(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        path = self.path(user_id, key)
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            if checksum is None or await asyncio.to_thread(_checksum, path) == checksum:
                path.unlink()

    async def abort_uploads(self, user_id: str, key: str) -> None:
        await asyncio.to_thread(self.parts.abort_under, self.path(user_id, key))

    async def discard_folder(self, user_id: str, key: str) -> None:
        await self.abort_uploads(user_id, key)
        folder = self.path(user_id, key)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def sweep(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        swept = await asyncio.to_thread(self.reserve.remove_dead_files, older_than_seconds)
        return swept + await asyncio.to_thread(self.parts.sweep, older_than_seconds)

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


def _publish(
    incoming: Path, source: Path, target: Path, size: int, checksum: str, is_abandoned: Callable[[], bool]
) -> bool:
    """Move what was checked, and nothing else: another may put another file in the source's place meanwhile."""
    name = incoming / f"{uuid.uuid4().hex}.held"
    try:
        held = _second_name(source, name)
        if not _is(held, size, checksum) or is_abandoned():
            return False
        _move(held, target)
        source.unlink(missing_ok=True)
    except FileNotFoundError:  # done before, or just now by another who was told the same
        return _holds(target, size, checksum)
    except (IsADirectoryError, NotADirectoryError, FileExistsError):
        raise Obstructed from None
    finally:
        name.unlink(missing_ok=True)
    return True


def _put_once(source: Path, target: Path) -> None:
    """Give a file a name that nothing has; raises AlreadyStored unless what has it is the same to the byte."""
    make_private_folder(target.parent)
    try:
        if _second_name(source, target) == source:
            _rename_to_new(source, target)
    except FileExistsError:
        if target.is_dir() or not filecmp.cmp(source, target, shallow=False):
            raise AlreadyStored from None
    _sync_folder(target.parent)


def _second_name(source: Path, name: Path) -> Path:
    """Give a file another name, and return it; the name that it has where the file system knows no second ones."""
    try:
        os.link(source, name)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return source
    return name


def _rename_to_new(source: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError
    source.replace(target)


def _holds(path: Path, size: int, checksum: str) -> bool:
    try:
        return _is(path, size, checksum)
    except FileNotFoundError:
        return False


def _is(path: Path, size: int, checksum: str) -> bool:
    return path.stat().st_size == size and _checksum(path) == checksum


def _move(source: Path, target: Path) -> None:
    make_private_folder(target.parent)
    source.replace(target)
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    """Make a change of names in a folder last through a loss of power."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
