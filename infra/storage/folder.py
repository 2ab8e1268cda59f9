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
    FileDownload,
    InvalidKey,
    ObjectExists,
    Part,
    PathConflict,
    SignedUrl,
    StoredObject,
    enforce_size,
    object_name,
    user_folder,
)
from infra.storage.disk_reserve import DiskReserve
from infra.storage.folder_parts import MultipartFolder
from infra.storage.signed import Grant, UrlSigner


class FolderStorage:
    """The local folder: `root/objects/{user}/{key}`. Without `urls` it can't hand out any."""

    def __init__(self, root: Path, urls: UrlSigner | None = None) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()
        self.url_signer = urls
        for folder in (self._objects, self._incoming):
            make_private_folder(folder)
        self.reserve = DiskReserve(self._incoming)
        self.multipart = MultipartFolder(self._incoming, self.reserve)

    def local_path(self, user_id: str, key: str) -> Path:
        """Where a user's object lies or will lie; InvalidKey if the key or a link leads elsewhere."""
        home = self._objects / user_folder(user_id)
        path = self._objects / object_name(user_id, key)
        try:
            inside = path.resolve().is_relative_to(home.resolve())
        except (OSError, RuntimeError):  # links in a circle
            raise InvalidKey from None
        if not inside:
            raise InvalidKey
        return path

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        path = self.local_path(user_id, key)
        above = path.parents[: key.count("/")]
        return path.is_dir() or any(folder.exists() and not folder.is_dir() for folder in above)

    async def check_free_space(self, size: int) -> None:
        await asyncio.to_thread(self.reserve.check, size)

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        try:
            path = self.local_path(user_id, key)
            facts = path.stat()
        except (OSError, InvalidKey):
            return None
        if not path.is_file():
            return None
        etag = f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
        return StoredObject(facts.st_size, facts.st_mtime, etag)

    async def sign_read_url(
        self, user_id: str, key: str, *, expires_seconds: int, filename: str | None = None
    ) -> SignedUrl:
        self.local_path(user_id, key)
        return self._signed(Grant("read", user_id, key, filename=filename), expires_seconds)

    async def open_download(
        self, user_id: str, key: str, *, filename: str, expires_seconds: int
    ) -> FileDownload | None:
        del filename, expires_seconds  # the service names the file, in a response of its own
        stored = await self.find(user_id, key)
        return FileDownload(stored, self.local_path(user_id, key)) if stored else None

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str, expires_seconds: int
    ) -> SignedUrl:
        self.local_path(user_id, key)
        return self._signed(Grant("write", user_id, key, size, content_type), expires_seconds)

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del content_type, checksum  # a file has neither; `holds` reads it instead
        return await asyncio.to_thread(self.multipart.create, self.local_path(user_id, key), size)

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        grant = Grant("part", user_id, key, size, upload_id=upload_id, number=number)
        return self._signed(grant, expires_seconds)

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        return await asyncio.to_thread(self.multipart.list_parts, self.local_path(user_id, key), upload_id)

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        target = self.local_path(user_id, key)
        await asyncio.to_thread(self.multipart.complete, target, upload_id, parts, _move)

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        await asyncio.to_thread(self.multipart.abort, self.local_path(user_id, key), upload_id)

    async def receive(
        self, user_id: str, key: str, chunks: AsyncIterator[bytes], size: int, *, replace: bool = True
    ) -> None:
        """Store a body of exactly `size` bytes under the key; SizeMismatch and DiskFull leave what was there before.

        Unless it may `replace` what is there, raises ObjectExists for another content than that.
        """
        target = self.local_path(user_id, key)
        async with self.reserve.receiving(size) as file:
            async for chunk in enforce_size(chunks, size):
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
            put = _move if replace else _put_once
            await asyncio.to_thread(put, Path(file.name), target)

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        return await asyncio.to_thread(_holds, self.local_path(user_id, key), size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = self.local_path(user_id, written_key), self.local_path(user_id, key)
        abandoned = threading.Event()  # a thread can't be cancelled, but must not move anything later
        try:
            return await asyncio.to_thread(
                _publish, self._incoming, source, target, size, checksum, abandoned.is_set
            )
        finally:
            abandoned.set()

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        path = self.local_path(user_id, key)
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            if checksum is None or await asyncio.to_thread(_checksum, path) == checksum:
                path.unlink()

    async def abort_uploads(self, user_id: str, key: str) -> None:
        await asyncio.to_thread(self.multipart.abort_under, self.local_path(user_id, key))

    async def delete_folder(self, user_id: str, key: str) -> None:
        await self.abort_uploads(user_id, key)
        folder = self.local_path(user_id, key)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        swept = await asyncio.to_thread(self.reserve.remove_dead_files, older_than_seconds)
        return swept + await asyncio.to_thread(self.multipart.remove_abandoned, older_than_seconds)

    async def check(self) -> None:
        """Raise OSError if the folder can't be written."""
        probe = self._incoming / f"{uuid.uuid4().hex}.probe"
        try:
            await asyncio.to_thread(probe.write_bytes, b"ok")
        finally:
            probe.unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is held open."""

    def _signed(self, grant: Grant, expires_seconds: int) -> SignedUrl:
        if self.url_signer is None:
            raise RuntimeError("this folder was given no way to sign URLs")
        return self.url_signer.sign(grant, expires_seconds)


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
        raise PathConflict from None
    finally:
        name.unlink(missing_ok=True)
    return True


def _put_once(source: Path, target: Path) -> None:
    """Give a file a name that nothing has; raises ObjectExists unless what has it is the same to the byte."""
    make_private_folder(target.parent)
    try:
        if _second_name(source, target) == source:
            _rename_to_new(source, target)
    except FileExistsError:
        if target.is_dir() or not filecmp.cmp(source, target, shallow=False):
            raise ObjectExists from None
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
