"""Objects in an S3 bucket (such as R2); clients and runs use presigned URLs."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

from infra.storage.base import (
    ABANDONED_SECONDS,
    Part,
    RedirectDownload,
    SignedUrl,
    StoredObject,
    UserFiles,
)
from infra.storage.bucket_keys import bucket_key, is_own_key, user_prefixes
from infra.storage.client import Bucket, ObjectNotFound
from infra.storage.errors import InvalidKey, NoSuchUpload, StorageUnavailable
from infra.storage.presentation import Presentation
from infra.storage.s3_publish import copy_object

CHECK_SECONDS = 5.0
CHECKSUM = "sha256"


class S3Storage:
    """The objects of one bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def local_path(self, user_id: str, key: str) -> None:
        """Return None: no object is a local file."""
        bucket_key(user_id, key)

    def has_path_conflict(self, user_id: str, key: str) -> bool:
        """Return False: a bucket has no folders."""
        bucket_key(user_id, key)
        return False

    async def check_free_space(self, size: int) -> None:
        """Do nothing: a bucket has no size limit."""

    async def find(self, user_id: str, key: str) -> StoredObject | None:
        try:
            stored = await self._head(bucket_key(user_id, key))
        except InvalidKey:
            return None
        if stored is None:
            await self._check_bucket()
        return stored

    async def sign_read_url(
        self,
        user_id: str,
        key: str,
        *,
        expires_seconds: int,
        presentation: Presentation | None = None,
        size: int | None = None,
    ) -> SignedUrl:
        del size  # a condition would be a header, which the tags of a page cannot send
        arguments = {"Key": bucket_key(user_id, key)}
        if presentation is not None:
            arguments["ResponseContentDisposition"] = presentation.content_disposition
            arguments["ResponseContentType"] = presentation.content_type
        return SignedUrl(await self._bucket.presign("get_object", expires_seconds, **arguments))

    async def open_download(
        self, user_id: str, key: str, presentation: Presentation, *, expires_seconds: int
    ) -> RedirectDownload | None:
        stored = await self.find(user_id, key)
        if stored is None:
            return None
        signed = await self.sign_read_url(
            user_id, key, expires_seconds=expires_seconds, presentation=presentation
        )
        return RedirectDownload(stored, signed.url)

    async def sign_write_url(
        self, user_id: str, key: str, *, size: int, content_type: str | None, expires_seconds: int
    ) -> SignedUrl:
        headers = {"Content-Type": content_type} if content_type else {}
        arguments: dict[str, Any] = {"Key": bucket_key(user_id, key), "ContentLength": size}
        if content_type:
            arguments["ContentType"] = content_type
        return SignedUrl(await self._bucket.presign("put_object", expires_seconds, **arguments), headers)

    async def create_multipart(
        self, user_id: str, key: str, *, size: int, content_type: str, checksum: str | None = None
    ) -> str:
        del size  # S3 adds up the parts
        metadata = {CHECKSUM: checksum.partition(":")[2]} if checksum else {}
        response = await self._bucket.call(
            "create_multipart_upload",
            Key=bucket_key(user_id, key),
            ContentType=content_type,
            Metadata=metadata,
        )
        return str(response["UploadId"])

    async def sign_part_url(
        self, user_id: str, key: str, upload_id: str, number: int, *, size: int, expires_seconds: int
    ) -> SignedUrl:
        upload = {"Key": bucket_key(user_id, key), "UploadId": upload_id}
        arguments = upload | {"PartNumber": number, "ContentLength": size}
        return SignedUrl(await self._bucket.presign("upload_part", expires_seconds, **arguments))

    async def list_parts(self, user_id: str, key: str, upload_id: str) -> list[Part]:
        name = bucket_key(user_id, key)
        parts = await self._bucket.list_all("list_parts", "Parts", Key=name, UploadId=upload_id)
        return [Part(part["PartNumber"], part["Size"], part["ETag"]) for part in parts]

    async def complete_multipart(self, user_id: str, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        manifest = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        await self._bucket.call(
            "complete_multipart_upload",
            Key=bucket_key(user_id, key),
            UploadId=upload_id,
            MultipartUpload={"Parts": manifest},
        )

    async def abort_multipart(self, user_id: str, key: str, upload_id: str) -> None:
        await self._abort(bucket_key(user_id, key), upload_id)

    async def exists_with(self, user_id: str, key: str, *, size: int, checksum: str) -> bool:
        stored = await self._head(bucket_key(user_id, key))
        return stored is not None and (stored.size, stored.checksum) == (size, checksum)

    async def publish(self, user_id: str, written_key: str, key: str, *, size: int, checksum: str) -> bool:
        source, target = bucket_key(user_id, written_key), bucket_key(user_id, key)
        written = await self._head(source)
        if written is not None and (written.size, written.checksum) != (size, checksum):
            return False
        if written is not None and await copy_object(self._bucket, source, target, written):
            await self._bucket.call("delete_object", Key=source)
            return True
        # Published by a process that died before it reported so, or just now by a concurrent request.
        published = await self._head(target)
        if written is None and published is None:
            await self._check_bucket()
        return published is not None and (published.size, published.checksum) == (size, checksum)

    async def delete(self, user_id: str, key: str, *, checksum: str | None = None) -> None:
        name = bucket_key(user_id, key)
        if checksum is not None:
            stored = await self._head(name)
            if stored is None or stored.checksum != checksum:
                return
        await self._bucket.call("delete_object", Key=name)

    async def erase(self, user_id: str, key: str) -> None:
        name = bucket_key(user_id, key)
        uploads = await self._list_uploads(name)
        await self._abort_all(upload for upload in uploads if upload["Key"] == name)
        await self._bucket.call("delete_object", Key=name)

    async def abort_uploads(self, user_id: str, key: str) -> None:
        await self._abort_all(await self._list_uploads(f"{bucket_key(user_id, key)}/"))

    async def delete_folder(self, user_id: str, key: str) -> None:
        await self._delete_below(f"{bucket_key(user_id, key)}/")

    async def measure_user(self, user_id: str) -> UserFiles:
        objects = [item for prefix in user_prefixes(user_id) for item in await self._list_objects(prefix)]
        return UserFiles(len(objects), sum(item["Size"] for item in objects))

    async def delete_user(self, user_id: str) -> None:
        for prefix in user_prefixes(user_id):
            await self._delete_below(prefix)

    async def abort_abandoned_uploads(self, older_than_seconds: float = ABANDONED_SECONDS) -> int:
        """Abort unfinished uploads of all users, but not those of other programs in the bucket."""
        before = time.time() - older_than_seconds
        uploads = await self._bucket.list_all("list_multipart_uploads", "Uploads")
        old_uploads = [
            upload
            for upload in uploads
            if is_own_key(upload["Key"]) and upload["Initiated"].timestamp() < before
        ]
        return sum(await asyncio.gather(*(self._abort_idle(upload, before) for upload in old_uploads)))

    async def check(self) -> None:
        """Raise StorageError unless the bucket exists and is accessible; writes nothing."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._bucket.call("head_bucket")
        except ObjectNotFound:
            await self._check_bucket()
        except TimeoutError:
            raise StorageUnavailable("the storage does not respond") from None

    async def close(self) -> None:
        await self._bucket.close()

    async def _head(self, name: str) -> StoredObject | None:
        try:
            response = await self._bucket.call("head_object", Key=name)
        except ObjectNotFound:
            return None
        return _object_from_response(response)

    async def _check_bucket(self) -> None:
        """Raise BucketNotFound if the bucket is missing, which the 404 of a HEAD does not tell apart."""
        await self._bucket.call("list_objects_v2", MaxKeys=1)

    async def _abort_idle(self, upload: dict[str, Any], before: float) -> bool:
        """Abort an upload without newer parts; some stores report a wrong time of creation."""
        name, upload_id = upload["Key"], upload["UploadId"]
        try:
            parts = await self._bucket.list_all("list_parts", "Parts", Key=name, UploadId=upload_id)
        except (NoSuchUpload, ObjectNotFound):
            return False
        if any(part["LastModified"].timestamp() >= before for part in parts):
            return False
        await self._abort(name, upload_id)
        return True

    async def _list_uploads(self, prefix: str) -> list[dict[str, Any]]:
        return await self._bucket.list_all("list_multipart_uploads", "Uploads", Prefix=prefix)

    async def _list_objects(self, prefix: str) -> list[dict[str, Any]]:
        return await self._bucket.list_all("list_objects_v2", "Contents", Prefix=prefix)

    async def _delete_below(self, prefix: str) -> None:
        await self._abort_all(await self._list_uploads(prefix))
        objects = await self._list_objects(prefix)
        await asyncio.gather(*(self._bucket.call("delete_object", Key=item["Key"]) for item in objects))

    async def _abort_all(self, uploads: Iterable[dict[str, Any]]) -> None:
        await asyncio.gather(*(self._abort(upload["Key"], upload["UploadId"]) for upload in uploads))

    async def _abort(self, name: str, upload_id: str) -> None:
        try:
            await self._bucket.call("abort_multipart_upload", Key=name, UploadId=upload_id)
        except (NoSuchUpload, ObjectNotFound):
            return


def _object_from_response(response: dict[str, Any]) -> StoredObject:
    checksum = response.get("Metadata", {}).get(CHECKSUM)
    return StoredObject(
        size=response["ContentLength"],
        modified_at=response["LastModified"].timestamp(),
        etag=response["ETag"].strip('"'),
        checksum=f"sha256:{checksum}" if checksum else None,
        content_type=response.get("ContentType"),
    )
