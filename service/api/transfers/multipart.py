"""Uploads in parts, whoever sends them: which parts are missing, where they go, and the joining of all of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from infra.storage import NoSuchUpload, SizeMismatch, Storage, part_sizes

MAX_TARGETS = 100
URL_SECONDS = 3_600


@dataclass(frozen=True)
class Upload:
    """An upload under way; its size, in bytes, decides how long its parts are."""

    user_id: str
    key: str
    upload_id: str
    size: int


class PartTarget(TypedDict):
    """A part that is to be sent: its number from 1, its size in bytes, where to PUT it."""

    number: int
    size: int
    url: str


async def missing_parts(storage: Storage, upload: Upload) -> list[int]:
    """The numbers of the parts that are not there, or not whole; raises NoSuchUpload."""
    there = {
        (part.number, part.size)
        for part in await storage.list_parts(upload.user_id, upload.key, upload.upload_id)
    }
    wanted = enumerate(part_sizes(upload.size), start=1)
    return [number for number, size in wanted if (number, size) not in there]


async def part_targets(storage: Storage, upload: Upload, numbers: Sequence[int]) -> list[PartTarget]:
    """Where the first of these parts go: so many at once that an answer stays small and no URL grows old."""
    sizes = part_sizes(upload.size)

    async def target(number: int) -> PartTarget:
        size = sizes[number - 1]
        signed = await storage.sign_part_url(
            upload.user_id, upload.key, upload.upload_id, number, size=size, expires_seconds=URL_SECONDS
        )
        return PartTarget(number=number, size=size, url=signed.url)

    return list(await asyncio.gather(*(target(number) for number in numbers[:MAX_TARGETS])))


async def complete_upload(storage: Storage, upload: Upload) -> bool:
    """Make the object of its parts; False, and nothing done, while parts are missing.

    May be repeated: an object of this size that is there already counts. The parts are those that storage lists, not
    those that the sender tells of.
    """
    try:
        parts = await storage.list_parts(upload.user_id, upload.key, upload.upload_id)
        if [part.size for part in parts] != part_sizes(upload.size):
            return False
        await storage.complete_multipart(upload.user_id, upload.key, upload.upload_id, parts)
    except NoSuchUpload:
        found = await storage.find(upload.user_id, upload.key)
        if found is None or found.size != upload.size:
            raise
    except SizeMismatch:  # a part was sent again just now
        return False
    return True
