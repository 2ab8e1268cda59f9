"""Copy an object inside a bucket, in one request or in parts, and compare the copy with its source."""

import asyncio

from infra.storage.base import StoredObject
from infra.storage.client import Bucket, ObjectNotFound, PreconditionFailed

# S3 allows 5 GiB in one copy, but well below that it takes longer than a request should.
SINGLE_COPY_BYTES = 512 * 1024 * 1024
PART_COPY_BYTES = 256 * 1024 * 1024
CONCURRENT_COPIES = 8


async def copy_object(
    bucket: Bucket,
    source: str,
    target: str,
    stored: StoredObject,
    *,
    single_bytes: int = SINGLE_COPY_BYTES,
    part_bytes: int = PART_COPY_BYTES,
) -> bool:
    """Copy an object with its metadata; return False if it no longer is `stored`.

    Objects of up to `single_bytes` are copied in one request, larger ones in parts of `part_bytes`.
    """
    origin = {"CopySource": {"Bucket": bucket.name, "Key": source}}
    try:
        if stored.size <= single_bytes:
            condition = {"CopySourceIfMatch": f'"{stored.etag}"'}
            await bucket.call("copy_object", Key=target, MetadataDirective="COPY", **origin, **condition)
        else:
            await _copy_in_parts(bucket, source, target, stored, part_bytes)
        copy = await bucket.call("head_object", Key=target)
    except (PreconditionFailed, ObjectNotFound):
        return False
    checksum = copy.get("Metadata", {}).get("sha256")
    return (copy["ContentLength"], f"sha256:{checksum}") == (stored.size, stored.checksum)


async def _copy_in_parts(
    bucket: Bucket, source: str, target: str, stored: StoredObject, part_bytes: int
) -> None:
    """Copy an object in parts; raises PreconditionFailed if it changed.

    R2 copies parts without conditions, so the ETag of the source is compared before the upload is completed.
    """
    checksum = (stored.checksum or "").partition(":")[2]
    created = await bucket.call(
        "create_multipart_upload",
        Key=target,
        ContentType=stored.content_type or "application/octet-stream",
        Metadata={"sha256": checksum},
    )
    upload = {"Key": target, "UploadId": created["UploadId"]}
    try:
        parts = await _copy_parts(bucket, source, upload, stored.size, part_bytes)
        await _check_unchanged(bucket, source, stored)
        await bucket.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
    except BaseExceptionGroup as group:
        await bucket.call("abort_multipart_upload", **upload)
        raise group.exceptions[0] from None
    except BaseException:
        await bucket.call("abort_multipart_upload", **upload)
        raise


async def _check_unchanged(bucket: Bucket, source: str, stored: StoredObject) -> None:
    current = await bucket.call("head_object", Key=source)
    if current["ETag"].strip('"') != stored.etag:
        raise PreconditionFailed


async def _copy_parts(
    bucket: Bucket, source: str, upload: dict[str, str], size: int, part_bytes: int
) -> list[dict[str, object]]:
    """Copy all parts of the source and return them in the form that completes the upload."""
    slots = asyncio.Semaphore(CONCURRENT_COPIES)

    async def copy_part(number: int) -> dict[str, object]:
        first = (number - 1) * part_bytes
        span = {"PartNumber": number, "CopySourceRange": f"bytes={first}-{min(first + part_bytes, size) - 1}"}
        origin = {"CopySource": {"Bucket": bucket.name, "Key": source}}
        async with slots:
            response = await bucket.call("upload_part_copy", **upload, **span, **origin)
        return {"PartNumber": number, "ETag": response["CopyPartResult"]["ETag"]}

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(copy_part(number)) for number in range(1, -(-size // part_bytes) + 1)]
    return [task.result() for task in tasks]
