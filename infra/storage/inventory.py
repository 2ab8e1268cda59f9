"""List every object of a storage, and delete single ones: for checks, not for requests."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from infra.storage.bucket_keys import ATTEMPTS_PREFIX
from infra.storage.files import erase_file

if TYPE_CHECKING:  # importing boto3 takes half a second
    from infra.storage.client import Bucket


@dataclass(frozen=True)
class ListedObject:
    """A stored object: the folder of its user, its key, its size in bytes, and when it was changed."""

    folder: str
    key: str
    size: int
    modified_at: float


class Inventory(Protocol):
    """All objects of a storage. Its methods raise StorageError or OSError."""

    async def list_objects(self) -> list[ListedObject]:
        """Return every object; what other programs store in the bucket as well."""
        ...

    async def delete(self, item: ListedObject) -> None:
        """Delete an object; no-op if it is gone."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class FolderInventory:
    """The objects of a FolderStorage in `root`."""

    def __init__(self, root: Path) -> None:
        self._objects = (root / "objects").absolute()
        self._incoming = (root / "incoming").absolute()

    async def list_objects(self) -> list[ListedObject]:
        return await asyncio.to_thread(lambda: list(self._walk()))

    async def delete(self, item: ListedObject) -> None:
        home = self._objects / item.folder
        await asyncio.to_thread(erase_file, self._incoming, home / item.key, home)

    async def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _walk(self) -> Iterator[ListedObject]:
        for path in self._objects.rglob("*"):
            if path.is_file() and not path.is_symlink():
                folder, _, key = path.relative_to(self._objects).as_posix().partition("/")
                status = path.stat()
                yield ListedObject(folder, key, status.st_size, status.st_mtime)


class BucketInventory:
    """The objects of an S3Storage."""

    def __init__(self, bucket: "Bucket") -> None:
        self._bucket = bucket

    async def list_objects(self) -> list[ListedObject]:
        items = await self._bucket.list_all("list_objects_v2", "Contents")
        return [
            ListedObject(*_split_name(item["Key"]), item["Size"], item["LastModified"].timestamp())
            for item in items
        ]

    async def delete(self, item: ListedObject) -> None:
        name = f"{item.folder}/{item.key}"
        if item.key.startswith(ATTEMPTS_PREFIX):
            name = f"{ATTEMPTS_PREFIX}{item.folder}/{item.key.removeprefix(ATTEMPTS_PREFIX)}"
        await self._bucket.call("delete_object", Key=name)

    async def close(self) -> None:
        await self._bucket.close()


def _split_name(name: str) -> tuple[str, str]:
    """Return the user's folder and the key, whose order differs for the files of attempts."""
    if not name.startswith(ATTEMPTS_PREFIX):
        folder, _, key = name.partition("/")
        return folder, key
    folder, _, rest = name.removeprefix(ATTEMPTS_PREFIX).partition("/")
    return folder, f"{ATTEMPTS_PREFIX}{rest}"
