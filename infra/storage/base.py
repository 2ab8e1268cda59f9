"""What every storage does, and the one place where a user's keys become names: no key leads out of its user's part."""

import hashlib
import math
import re
import unicodedata
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import quote

CHUNK_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
MAX_PARTS = 1_000
CONCURRENT_PARTS = 4
"""How many parts of one upload clients usually send at once."""
ABANDONED_SECONDS = 26 * 3_600.0
"""An upload that was begun so long ago can't be completed any more: what permits it lasts for a day."""
MAX_KEY_BYTES = 700
MAX_KEY_PART_BYTES = 250  # file systems hold names of 255

# A tilde comes first in hashed names only: else a user could be named like another's hash.
_PLAIN_USER = re.compile(r"[A-Za-z0-9_@%-][A-Za-z0-9._@%~-]{0,127}")


class InvalidKey(Exception):
    """A key leads out of its user's part of the storage, or can't be a name at all."""


class PathConflict(Exception):
    """A folder lies where an object should, or an object where its folder should."""


class SizeMismatch(Exception):
    """A body, or what arrived in parts, is not as long as was agreed."""


class ChecksumMismatch(Exception):
    """What arrived is not what was sent: its checksum differs."""


class NoSuchUpload(Exception):
    """The upload in parts is unknown: never begun, completed already, or given up."""


class StorageError(Exception):
    """The storage can't do its work; the message names neither keys nor URLs."""

    code: ClassVar[str] = "storage_failed"


class StorageUnavailable(StorageError):
    """The storage is overloaded or out of reach, after a few tries; it may be back shortly."""

    code = "storage_unavailable"


class StorageForbidden(StorageError):
    """The storage does not accept the credentials, or they do not allow this."""

    code = "storage_forbidden"


class BucketNotFound(StorageError):
    """The bucket does not exist."""

    code = "bucket_missing"


class DiskFull(StorageError):
    """The disk has no room for this beside what was promised to others."""

    code = "disk_full"


class ObjectExists(Exception):
    """Another object lies under the key already."""


@dataclass(frozen=True)
class StoredObject:
    """What is stored under a key: size in bytes, time of the last change in seconds since the epoch.

    `checksum` (`sha256:<hex>`) is there where it was stated when the object was made.
    """

    size: int
    modified_at: float
    etag: str
    checksum: str | None = None


@dataclass(frozen=True)
class SignedUrl:
    """A URL that works without credentials until it expires, and the headers that have to be sent with it."""

    url: str = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileDownload:
    """An object in a file of this machine, which the service sends itself."""

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
    """A part that has arrived: its number from 1, its size in bytes."""

    number: int
    size: int
    etag: str


class Storage(Protocol):
    """Objects by user and key. Every method may raise StorageError; those that write raise InvalidKey."""

    def local_path(self, user_id: str, key: str) -> Path | None:
        """Where the object lies or will lie on this machine; None if it does not."""
        ...

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        """Whether something of another kind lies in the way of an object under this key."""
        ...

    async def check_free_space(self, size: int) -> None:
        """Raise DiskFull if an object of `size` bytes could not be begun now."""
        ...

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        """What is stored under the key, or None."""
        ...

    async def sign_read_url(
        self, user_id: str, key: str, *, expires_seconds: int, filename: str | None = None
    ) -> SignedUrl:
        """Where the object is read by GET, by range too; saved as `filename` by browsers."""
        ...

    async def open_download(
        self, user_id: str, key: str, *, filename: str, expires_seconds: int
    ) -> Download | None:
        """Return how a client gets the object, as a file named `filename`; None if there is no object."""
        ...

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str, expires_seconds: int
    ) -> SignedUrl:
        """Where exactly this many bytes of this type are PUT."""
        ...

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        """Begin an upload in parts of `part_sizes(size)`, and return its id; the object is seen once it is complete."""
        ...

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        """Where a part of exactly this many bytes is PUT, as often as it takes."""
        ...

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        """The parts that are there, by number; raises NoSuchUpload."""
        ...

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts, all at once; raises NoSuchUpload."""
        ...

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        """Give an upload up, and remove what has arrived; an unknown one is given up already."""
        ...

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        """Whether exactly this is stored under the key (bytes, `sha256:<hex>`)."""
        ...

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        """Move an attempt's output to its key; return whether that key now holds it.

        False if the output is missing or differs in size or checksum. May be repeated: an output that is already at
        its key counts. Raises PathConflict.
        """
        ...

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        """Remove an object if it is there (and, when a checksum is given, if it is that object)."""
        ...

    async def abort_uploads(self, user_id: str, key: str) -> None:
        """Give up every upload under way for a key below this one, and remove what has arrived."""
        ...

    async def delete_folder(self, user_id: str, key: str) -> None:
        """Remove everything under a key, uploads under way included."""
        ...

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Remove uploads that were begun so long ago and never completed; how many. Several may do it at once."""
        ...

    async def check(self) -> None:
        """Raise StorageError or OSError if the storage can't be used now."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


def user_folder(user_id: str) -> str:
    """The first part of all names of a user's objects: one name to a user, and no name to two."""
    name = quote(user_id, safe="@", errors="surrogatepass")
    if _PLAIN_USER.fullmatch(name):
        return name
    return "~" + hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()


def object_name(user_id: str, key: str) -> str:
    """`{user}/{key}`; raises InvalidKey for a key that some system in between might read as another."""
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "%" in part for part in parts):
        raise InvalidKey
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in key):
        raise InvalidKey
    if len(key.encode()) > MAX_KEY_BYTES or max(len(part.encode()) for part in parts) > MAX_KEY_PART_BYTES:
        raise InvalidKey
    return f"{user_folder(user_id)}/{key}"


def part_bytes(size: int) -> int:
    """How long each part but the last is: one length for all, as R2 asks; longer for larger objects."""
    mebibytes = math.ceil(size / MAX_PARTS / 2**20)
    return max(PART_BYTES, mebibytes * 2**20)


def part_sizes(size: int) -> list[int]:
    """The length of each part of an object of this size, in bytes."""
    each = part_bytes(size)
    return [each] * (size // each) + ([size % each] if size % each else [])


async def enforce_size(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The chunks of a body of exactly `size` bytes; raises SizeMismatch at the first byte too many, or at the end."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > size:
            raise SizeMismatch
        yield chunk
    if received != size:
        raise SizeMismatch
