"""Multipart uploads of users and runs: missing parts, URLs for them, and completion."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from infra.storage import NoSuchUpload, SizeMismatch, Storage, part_sizes

MAX_TARGETS = 100
URL_SECONDS = 3_600


@dataclass(frozen=True)
class Upload:
    """An unfinished upload; its size in bytes decides the length of its parts."""

    user_id: str
    key: str
    upload_id: str
    size: int


class PartTarget(TypedDict):
    """A part to send: its number from 1, its size in bytes, and the URL to PUT it to."""

    number: int
    size: int
    url: str


class StoredPart(TypedDict):
    """A part that has arrived: its number from 1, its size in bytes, and its ETag."""

    number: int
    size: int
    etag: str


async def missing_parts(storage: Storage, upload: Upload) -> list[int]:
    """Return the numbers of the parts that are missing or incomplete; raises NoSuchUpload."""
    stored_parts = {
        (part.number, part.size)
        for part in await storage.list_parts(upload.user_id, upload.key, upload.upload_id)
    }
    expected_parts = enumerate(part_sizes(upload.size), start=1)
    return [number for number, size in expected_parts if (number, size) not in stored_parts]


async def part_targets(storage: Storage, upload: Upload, numbers: Sequence[int]) -> list[PartTarget]:
    """Return URLs for the first MAX_TARGETS of these parts.

    So the response stays small and no URL expires unused.
    """
    sizes = part_sizes(upload.size)

    async def target(number: int) -> PartTarget:
        size = sizes[number - 1]
        signed = await storage.sign_part_url(
            upload.user_id, upload.key, upload.upload_id, number, size=size, expires_seconds=URL_SECONDS
        )
        return PartTarget(number=number, size=size, url=signed.url)

    return list(await asyncio.gather(*(target(number) for number in numbers[:MAX_TARGETS])))


async def complete_upload(storage: Storage, upload: Upload) -> bool:
    """Join the parts to the object; return False and change nothing while parts are missing.

    May be repeated: an object of this size that exists already counts. The parts are those that the storage lists,
    not those that the client claims.
    """
    try:
        parts = await storage.list_parts(upload.user_id, upload.key, upload.upload_id)
        if [part.size for part in parts] != part_sizes(upload.size):
            return False
        await storage.complete_multipart(upload.user_id, upload.key, upload.upload_id, parts)
    except NoSuchUpload:
        stored = await storage.find(upload.user_id, upload.key)
        if stored is None or stored.size != upload.size:
            raise
    except SizeMismatch:  # a part was sent again in the meantime
        return False
    return True
