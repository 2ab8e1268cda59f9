"""The storages of the conformance suite, and how users store objects in them."""

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.storage import FolderStorage, Storage
from infra.storage.bucket_keys import bucket_key
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from infra.storage.signed import UrlSigner
from tests.support.s3_server import S3Server

CHUNK_BYTES = 2**20


class StorageCase(ABC):
    """A storage, and the writes of its users over HTTP."""

    storage: Storage

    @abstractmethod
    async def put(self, user_id: str, key: str, content: bytes) -> None:
        """Store an object with one write."""

    @abstractmethod
    async def send_part(self, upload: str, number: int, content: bytes, *, key: str = "big.mp4") -> None:
        """Send a part of an upload by ann."""


@dataclass
class FolderCase(StorageCase):
    storage: FolderStorage

    async def put(self, user_id: str, key: str, content: bytes) -> None:
        await self.storage.receive(user_id, key, _chunks(content), len(content))

    async def send_part(self, upload: str, number: int, content: bytes, *, key: str = "big.mp4") -> None:
        target = self.storage.local_path("ann", key)
        await self.storage.multipart.receive_part(
            target, upload, (number, len(content)), _chunks(content), None
        )


@dataclass
class BucketCase(StorageCase):
    storage: S3Storage
    bucket: Bucket

    async def put(self, user_id: str, key: str, content: bytes) -> None:
        metadata = {"sha256": checksum(content).partition(":")[2]}
        await self.bucket.call("put_object", Key=bucket_key(user_id, key), Body=content, Metadata=metadata)

    async def send_part(self, upload: str, number: int, content: bytes, *, key: str = "big.mp4") -> None:
        signed = await self.storage.sign_part_url(
            "ann", key, upload, number, size=len(content), expires_seconds=60
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.put(signed.url, content=content, headers=signed.headers)).status_code == 200


@asynccontextmanager
async def open_storage(kind: str, folder: Path, s3_server: S3Server) -> AsyncIterator[StorageCase]:
    """Yield an empty storage of this kind (`folder` or `s3`)."""
    if kind == "folder":
        signer = UrlSigner("http://127.0.0.1:1", secrets.token_bytes(32))
        yield FolderCase(FolderStorage(folder, signer))
        return
    bucket = Bucket(s3_server.client_config(), attempts=2)
    await bucket.create()
    storage = S3Storage(bucket)
    yield BucketCase(storage, bucket)
    await storage.close()


def checksum(content: bytes) -> str:
    """Return the checksum of content as callbacks state it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
