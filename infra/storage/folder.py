"""Objects in a local folder, by user; written elsewhere and renamed, so that each appears complete."""

import asyncio
import os
import threading
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from infra.private_files import make_private_folder
from infra.storage.base import (
    ABANDONED_SECONDS,
    FileDownload,
    Part,
    SignedUrl,
    StoredObject,
    UserFiles,
    enforce_size,
)
from infra.storage.disk_reserve import DiskReserve, convert_full_disk
from infra.storage.errors import InvalidKey
from infra.storage.files import (
    check_one_disk,
    compute_checksum,
    erase_file,
    erase_folder,
    has_content,
    measure_folder,
    move_file,
    move_to_new,
    publish_file,
)
from infra.storage.folder_parts import MultipartFolder
from infra.storage.object_names import object_name, user_folder
from infra.storage.presentation import Presentation
from infra.storage.signed import Grant, UrlSigner


class FolderStorage:
    """The objects in `root/objects/{user}/{key}`; without a `url_signer` it cannot sign URLs."""

    def __init__(self, root: Path, url_signer: UrlSigner | None = None) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()
        self.url_signer = url_signer
        for folder in (self._objects, self._incoming):
            make_private_folder(folder)
        check_one_disk(self._incoming, self._objects)
        self.reserve = DiskReserve(self._incoming)
        self.multipart = MultipartFolder(self._incoming, self.reserve)

    def local_path(self, user_id: str, key: str) -> Path:
        """Return the path of an object; raises InvalidKey if the key or a link leads elsewhere."""
        home = self._objects / user_folder(user_id)
        path = self._objects / object_name(user_id, key)
        try:
            is_inside = path.resolve().is_relative_to(home.resolve())
        except (OSError, RuntimeError):  # a circle of links
            raise InvalidKey from None
        if not is_inside:
            raise InvalidKey
        return path

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        path = self.local_path(user_id, key)
        parents = path.parents[: key.count("/")]
        return path.is_dir() or any(folder.exists() and not folder.is_dir() for folder in parents)

    async def check_free_space(self, size: int) -> None:
        await asyncio.to_thread(self.reserve.check, size)

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        try:
            path = self.local_path(user_id, key)
            status = path.stat()
        except (OSError, InvalidKey):
            return None
        if not path.is_file():
            return None
        etag = f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"
        return StoredObject(status.st_size, status.st_mtime, etag)

    async def sign_read_url(
        self,
        user_id: str,
        key: str,
        *,
        expires_seconds: int,
        presentation: Presentation | None = None,
        size: int | None = None,
    ) -> SignedUrl:
        self.local_path(user_id, key)
        headers = vars(presentation) if presentation else {}
        return self._sign(Grant("read", user_id, key, size, **headers), expires_seconds)

    async def open_download(
        self, user_id: str, key: str, presentation: Presentation, *, expires_seconds: int
    ) -> FileDownload | None:
        del presentation, expires_seconds  # the service sends the file and its headers itself
        stored = await self.find(user_id, key)
        return FileDownload(stored, self.local_path(user_id, key)) if stored else None

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str | None, expires_seconds: int
    ) -> SignedUrl:
        self.local_path(user_id, key)
        return self._sign(Grant("write", user_id, key, size, content_type), expires_seconds)

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del content_type, checksum  # a file stores neither; `exists_with` reads the content instead
        return await asyncio.to_thread(self.multipart.create, self.local_path(user_id, key), size)

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        self.local_path(user_id, key)
        grant = Grant("part", user_id, key, size, upload_id=upload_id, number=number)
        return self._sign(grant, expires_seconds)

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        return await asyncio.to_thread(self.multipart.list_parts, self.local_path(user_id, key), upload_id)

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        target = self.local_path(user_id, key)
        await asyncio.to_thread(self.multipart.complete, target, upload_id, parts, move_file)

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        await asyncio.to_thread(self.multipart.abort, self.local_path(user_id, key), upload_id)

    async def receive(
        self, user_id: str, key: str, chunks: AsyncIterator[bytes], size: int, *, replace: bool = True
    ) -> None:
        """Store a body of exactly `size` bytes under the key.

        SizeMismatch and DiskFull leave a previous object unchanged. Without `replace`, raises ObjectExists if an
        object with another content is stored.
        """
        target = self.local_path(user_id, key)
        async with self.reserve.open_temporary(size) as file:
            async for chunk in enforce_size(chunks, size):
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
            move = move_file if replace else move_to_new
            await asyncio.to_thread(move, Path(file.name), target)

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        return await asyncio.to_thread(has_content, self.local_path(user_id, key), size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = self.local_path(user_id, written_key), self.local_path(user_id, key)
        cancelled = threading.Event()  # a thread cannot be cancelled, but must not move the file later
        try:
            return await asyncio.to_thread(
                publish_file, self._incoming, source, target, size, checksum, cancelled.is_set
            )
        finally:
            cancelled.set()

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        path = self.local_path(user_id, key)
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            if checksum is None or await asyncio.to_thread(compute_checksum, path) == checksum:
                path.unlink()

    async def erase(self, user_id: str, key: str) -> None:
        path, home = self.local_path(user_id, key), self._objects / user_folder(user_id)
        await self.abort_uploads(user_id, key)
        await asyncio.to_thread(erase_file, self._incoming, path, home)

    async def abort_uploads(self, user_id: str, key: str) -> None:
        await asyncio.to_thread(self.multipart.abort_below, self.local_path(user_id, key))

    async def delete_folder(self, user_id: str, key: str) -> None:
        await self.abort_uploads(user_id, key)
        folder = self.local_path(user_id, key)
        await asyncio.to_thread(erase_folder, self._incoming, folder)

    async def measure_user(self, user_id: str) -> UserFiles:
        return await asyncio.to_thread(measure_folder, self._objects / user_folder(user_id))

    async def delete_user(self, user_id: str) -> None:
        home = self._objects / user_folder(user_id)
        await asyncio.to_thread(self.multipart.abort_below, home)
        await asyncio.to_thread(erase_folder, self._incoming, home)

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Abort unfinished uploads and remove stale files; return the number of both."""
        removed = await asyncio.to_thread(self.reserve.remove_stale_files, older_than_seconds)
        return removed + await asyncio.to_thread(self.multipart.abort_abandoned, older_than_seconds)

    async def check(self) -> None:
        """Raise OSError if the folder is not writable, DiskFull if its disk is full."""
        with convert_full_disk():
            await asyncio.to_thread(_try_writing, self._incoming / f"{uuid.uuid4().hex}.probe")

    async def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _sign(self, grant: Grant, expires_seconds: int) -> SignedUrl:
        if self.url_signer is None:
            raise RuntimeError("this folder storage was created without a UrlSigner and cannot sign URLs")
        return self.url_signer.sign(grant, expires_seconds)


def _try_writing(probe: Path) -> None:
    """Write and delete a file, in a thread: a network drive that is gone may hang."""
    try:
        probe.write_bytes(b"ok")
    finally:
        probe.unlink(missing_ok=True)
