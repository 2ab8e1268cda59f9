"""The protocol of a storage, what its methods return, and the sizes of parts."""

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from infra.storage.errors import SizeMismatch
from infra.storage.presentation import Presentation

CHUNK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
MAX_PARTS = 1_000
CONCURRENT_PARTS = 4
"""How many parts of one upload clients usually send in parallel."""
ABANDONED_SECONDS = 26 * 3_600.0
"""The age at which a multipart upload can no longer be completed: its permission is valid for a day."""


@dataclass(frozen=True)
class StoredObject:
    """A stored object: size in bytes, time of the last change in seconds since the epoch.

    `checksum` (`sha256:<hex>`) is None unless it was stated when the object was created.
    """

    size: int
    modified_at: float
    etag: str
    checksum: str | None = None
    content_type: str | None = None


@dataclass(frozen=True)
class UserFiles:
    """How many objects a user has, and their bytes."""

    objects: int
    bytes: int


@dataclass(frozen=True)
class SignedUrl:
    """A URL that works without credentials until it expires, and the headers to send with it."""

    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileDownload:
    """An object in a local file, which the service sends itself."""

    stored: StoredObject
    path: Path


@dataclass(frozen=True)
class RedirectDownload:
    """An object that the storage sends: clients are redirected to a signed URL."""

    stored: StoredObject
    url: str = field(repr=False)


Download = FileDownload | RedirectDownload


@dataclass(frozen=True)
class Part:
    """A received part of a multipart upload: its number from 1, its size in bytes."""

    number: int
    size: int
    etag: str


class Storage(Protocol):
    """Objects by user and key.

    Every method may raise StorageError. All except `find` and `open_download`, which return None, raise InvalidKey
    for a key that leads out of the user's folder. Checksums are `sha256:<hex>`.
    """

    def local_path(self, user_id: str, key: str) -> Path | None:
        """Return the path of the object, stored or not; None if objects are not local files."""
        ...

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        """Return whether a folder or an object blocks the path of an object with this key."""
        ...

    async def check_free_space(self, size: int) -> None:
        """Raise DiskFull if there is no space for an object of `size` bytes."""
        ...

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        """Return the object, or None if there is none."""
        ...

    async def sign_read_url(
        self,
        user_id: str,
        key: str,
        *,
        expires_seconds: int,
        presentation: Presentation | None = None,
        size: int | None = None,
    ) -> SignedUrl:
        """Return a URL to GET the object, or ranges of it; a folder's is valid only for an object of `size` bytes."""
        ...

    async def open_download(
        self, user_id: str, key: str, presentation: Presentation, *, expires_seconds: int
    ) -> Download | None:
        """Return how a client gets the object, or None."""
        ...

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str | None, expires_seconds: int
    ) -> SignedUrl:
        """Return a URL to PUT an object of exactly this size in bytes and type; without a type, of any or none."""
        ...

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        """Create an upload in parts of `part_sizes(size)` and return its id.

        The object exists only once the upload is complete.
        """
        ...

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        """Return a URL to PUT a part of exactly `size` bytes, once or repeatedly."""
        ...

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        """Return the received parts, ordered by number; raises NoSuchUpload."""
        ...

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Create the object from its parts atomically; raises NoSuchUpload."""
        ...

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        """Delete an upload and its parts; no-op if it is unknown."""
        ...

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        """Return whether the stored object has exactly this size in bytes and checksum."""
        ...

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        """Move an attempt's output to its key; return whether it is there now.

        False if the output is missing or differs in size or checksum. May be repeated: an output that is already at
        its key counts. Raises PathConflict.
        """
        ...

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        """Delete an object if it exists and, given a checksum, has that checksum."""
        ...

    async def erase(self, user_id: str, key: str) -> None:
        """Delete an object, the unfinished uploads to its key, and the folders that it leaves empty."""
        ...

    async def abort_uploads(self, user_id: str, key: str) -> None:
        """Abort every multipart upload for a key below this one."""
        ...

    async def delete_folder(self, user_id: str, key: str) -> None:
        """Delete all objects below a key, and abort the uploads to it."""
        ...

    async def measure_user(self, user_id: str) -> UserFiles:
        """Count all of a user's objects, with what attempts have written."""
        ...

    async def delete_user(self, user_id: str) -> None:
        """Delete all of a user's objects, and abort the uploads to them."""
        ...

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Abort unfinished uploads of this age and return their number.

        Several replicas may do so at the same time.
        """
        ...

    async def check(self) -> None:
        """Raise StorageError or OSError if the storage cannot be used now."""
        ...

    async def close(self) -> None:
        """Close connections and stop threads."""
        ...


def part_bytes(size: int) -> int:
    """Return the size of every part except the last, in bytes, for an object of `size` bytes.

    R2 requires equal parts. They are larger for large objects, so that there are at most MAX_PARTS.
    """
    mebibytes = math.ceil(size / MAX_PARTS / 2**20)
    return max(PART_BYTES, mebibytes * 2**20)


def part_sizes(size: int) -> list[int]:
    """Return the size of each part of an object of `size` bytes."""
    each = part_bytes(size)
    return [each] * (size // each) + ([size % each] if size % each else [])


async def enforce_size(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """Yield the chunks of a body of exactly `size` bytes.

    Raises SizeMismatch at the first surplus byte, or at the end of a body that is too short.
    """
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > size:
            raise SizeMismatch
        yield chunk
    if received != size:
        raise SizeMismatch
