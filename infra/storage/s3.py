"""Objects in an S3 bucket, R2 first: presigned for everybody who holds no credentials."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from infra.storage.base import (
    ABANDONED_SECONDS,
    InvalidKey,
    NoSuchUpload,
    Part,
    RedirectDownload,
    SignedUrl,
    StorageUnavailable,
    StoredObject,
    object_name,
    user_folder,
)
from infra.storage.client import Bucket, ObjectNotFound
from infra.storage.content_disposition import attachment
from infra.storage.s3_publish import publish

CHECK_SECONDS = 5.0
CHECKSUM = "sha256"
ATTEMPTS_PREFIX = ".attempts/"

# What the service itself begins in parts: users' uploads, what attempts write, copies to where outputs usually go.
_OURS = re.compile(r"\.attempts/|[^/]+/uploads/[0-9a-f]{32}/|[^/]+/exports/[0-9a-f-]{36}\.mp4\Z")


class S3Storage:
    """One bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def local_path(self, user_id: str, key: str) -> None:
        """Nothing lies on this machine; InvalidKey for a bad key all the same."""
        bucket_key(user_id, key)

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        """A bucket has no folders."""
        bucket_key(user_id, key)
        return False

    async def check_free_space(self, size: int) -> None:
        """There is no bound."""

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        try:
            found = await self._head(bucket_key(user_id, key))
        except InvalidKey:
            return None
        if found is None:
            await self._check_bucket()
        return found

    async def sign_read_url(
        self, user_id: str, key: str, *, expires_seconds: int, filename: str | None = None
    ) -> SignedUrl:
        arguments = {"Key": bucket_key(user_id, key)}
        if filename is not None:
            arguments["ResponseContentDisposition"] = attachment(filename)
        return SignedUrl(await self._bucket.presign("get_object", expires_seconds, **arguments))

    async def open_download(
        self, user_id: str, key: str, *, filename: str, expires_seconds: int
    ) -> RedirectDownload | None:
        stored = await self.find(user_id, key)
        if stored is None:
            return None
        signed = await self.sign_read_url(user_id, key, expires_seconds=expires_seconds, filename=filename)
        return RedirectDownload(stored, signed.url)

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str, expires_seconds: int
    ) -> SignedUrl:
        name = bucket_key(user_id, key)
        bound = {"Key": name, "ContentLength": size, "ContentType": content_type}
        url = await self._bucket.presign("put_object", expires_seconds, **bound)
        return SignedUrl(url, {"Content-Type": content_type})

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del size  # S3 learns it from the parts
        metadata = {CHECKSUM: checksum.partition(":")[2]} if checksum else {}
        answer = await self._bucket.call(
            "create_multipart_upload",
            Key=bucket_key(user_id, key),
            ContentType=content_type,
            Metadata=metadata,
        )
        return str(answer["UploadId"])

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        upload = {"Key": bucket_key(user_id, key), "UploadId": upload_id}
        bound = upload | {"PartNumber": number, "ContentLength": size}
        return SignedUrl(await self._bucket.presign("upload_part", expires_seconds, **bound))

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        name = bucket_key(user_id, key)
        found = await self._bucket.pages("list_parts", "Parts", Key=name, UploadId=upload_id)
        return [Part(part["PartNumber"], part["Size"], part["ETag"]) for part in found]

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        await self._bucket.call(
            "complete_multipart_upload",
            Key=bucket_key(user_id, key),
            UploadId=upload_id,
            MultipartUpload={"Parts": listed},
        )

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        await self._abort(bucket_key(user_id, key), upload_id)

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        found = await self._head(bucket_key(user_id, key))
        return found is not None and (found.size, found.checksum) == (size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = bucket_key(user_id, written_key), bucket_key(user_id, key)
        found = await self._head(source)
        if found is not None and (found.size, found.checksum) != (size, checksum):
            return False
        if found is not None and await publish(self._bucket, source, target, found):
            await self._bucket.call("delete_object", Key=source)
            return True
        # Done before by whoever did not live to say so, or just now by another who was told the same.
        there = await self._head(target)
        if found is None and there is None:
            await self._check_bucket()
        return there is not None and (there.size, there.checksum) == (size, checksum)

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        name = bucket_key(user_id, key)
        if checksum is not None:
            found = await self._head(name)
            if found is None or found.checksum != checksum:
                return
        await self._bucket.call("delete_object", Key=name)

    async def abort_uploads(self, user_id: str, key: str) -> None:
        prefix = f"{bucket_key(user_id, key)}/"
        uploads = await self._bucket.pages("list_multipart_uploads", "Uploads", Prefix=prefix)
        await asyncio.gather(*(self._abort(upload["Key"], upload["UploadId"]) for upload in uploads))

    async def delete_folder(self, user_id: str, key: str) -> None:
        await self.abort_uploads(user_id, key)
        prefix = f"{bucket_key(user_id, key)}/"
        objects = await self._bucket.pages("list_objects_v2", "Contents", Prefix=prefix)
        await asyncio.gather(*(self._bucket.call("delete_object", Key=found["Key"]) for found in objects))

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Abort uploads of ours, whatever user's; those of other programs in the bucket are left alone."""
        before = time.time() - older_than_seconds
        uploads = await self._bucket.pages("list_multipart_uploads", "Uploads")
        begun_before = [
            upload
            for upload in uploads
            if _OURS.match(upload["Key"]) and upload["Initiated"].timestamp() < before
        ]
        return sum(await asyncio.gather(*(self._abort_idle(upload, before) for upload in begun_before)))

    async def check(self) -> None:
        """Raise StorageError unless the bucket is there and may be used; nothing is written for it."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._bucket.call("head_bucket")
        except ObjectNotFound:
            await self._check_bucket()
        except TimeoutError:
            raise StorageUnavailable("the storage does not answer") from None

    async def close(self) -> None:
        await self._bucket.close()

    async def _head(self, name: str) -> StoredObject | None:
        try:
            answer = await self._bucket.call("head_object", Key=name)
        except ObjectNotFound:
            return None
        return _stored(answer)

    async def _check_bucket(self) -> None:
        """A HEAD says no more than 404; a listing says whether it is the bucket that is missing."""
        await self._bucket.call("list_objects_v2", MaxKeys=1)

    async def _abort_idle(self, upload: dict[str, Any], before: float) -> bool:
        """Abort an upload unless a part of it came since: not every store tells truly when one was begun."""
        name, upload_id = upload["Key"], upload["UploadId"]
        try:
            parts = await self._bucket.pages("list_parts", "Parts", Key=name, UploadId=upload_id)
        except (NoSuchUpload, ObjectNotFound):
            return False
        if any(part["LastModified"].timestamp() >= before for part in parts):
            return False
        await self._abort(name, upload_id)
        return True

    async def _abort(self, name: str, upload_id: str) -> None:
        try:
            await self._bucket.call("abort_multipart_upload", Key=name, UploadId=upload_id)
        except (NoSuchUpload, ObjectNotFound):
            return


def bucket_key(user_id: str, key: str) -> str:
    """An object's key in the bucket: `{user}/{key}`, and `.attempts/{user}/…` for what attempts write.

    A bucket's rules go by how keys begin, and one rule has to find all scratch. No user's part begins with a dot.
    """
    name = object_name(user_id, key)
    if not key.startswith(ATTEMPTS_PREFIX):
        return name
    return f"{ATTEMPTS_PREFIX}{user_folder(user_id)}/{key.removeprefix(ATTEMPTS_PREFIX)}"


def _stored(answer: dict[str, Any]) -> StoredObject:
    stated = answer.get("Metadata", {}).get(CHECKSUM)
    return StoredObject(
        size=answer["ContentLength"],
        modified_at=answer["LastModified"].timestamp(),
        etag=answer["ETag"].strip('"'),
        checksum=f"sha256:{stated}" if stated else None,
    )
