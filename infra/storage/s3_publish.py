"""Copying inside a bucket: one request where that is allowed, parts above; the copy is compared with its source."""

import asyncio

from infra.storage.base import StoredObject
from infra.storage.client import Bucket, ObjectNotFound, PreconditionFailed

# A single copy may have 5 GiB, but takes longer than a request should long before that.
SINGLE_COPY_BYTES = 512 * 1024 * 1024
PART_COPY_BYTES = 256 * 1024 * 1024
PARTS_AT_ONCE = 8


async def publish(
    bucket: Bucket,
    source: str,
    target: str,
    found: StoredObject,
    *,
    single_bytes: int = SINGLE_COPY_BYTES,
    part_bytes: int = PART_COPY_BYTES,
) -> bool:
    """Copy an object with its metadata; False if it changed, or went, meanwhile. Sizes in bytes."""
    origin = {"CopySource": {"Bucket": bucket.name, "Key": source}}
    try:
        if found.size <= single_bytes:
            same = {"CopySourceIfMatch": f'"{found.etag}"'}
            await bucket.call("copy_object", Key=target, MetadataDirective="COPY", **origin, **same)
        else:
            await _copy_in_parts(bucket, source, target, found, part_bytes)
        copy = await bucket.call("head_object", Key=target)
    except (PreconditionFailed, ObjectNotFound):
        return False
    stated = copy.get("Metadata", {}).get("sha256")
    return (copy["ContentLength"], f"sha256:{stated}") == (found.size, found.checksum)


async def _copy_in_parts(
    bucket: Bucket, source: str, target: str, found: StoredObject, part_bytes: int
) -> None:
    """R2 copies parts without conditions: that the source is still the same is asked before they are joined."""
    checksum = (found.checksum or "").partition(":")[2]
    begun = await bucket.call(
        "create_multipart_upload", Key=target, ContentType="video/mp4", Metadata={"sha256": checksum}
    )
    upload = {"Key": target, "UploadId": begun["UploadId"]}
    try:
        parts = await _copied(bucket, source, upload, found.size, part_bytes)
        await _check_same(bucket, source, found)
        await bucket.call("complete_multipart_upload", **upload, MultipartUpload={"Parts": parts})
    except BaseExceptionGroup as failed:
        await bucket.call("abort_multipart_upload", **upload)
        raise failed.exceptions[0] from None
    except BaseException:
        await bucket.call("abort_multipart_upload", **upload)
        raise


async def _check_same(bucket: Bucket, source: str, found: StoredObject) -> None:
    now = await bucket.call("head_object", Key=source)
    if now["ETag"].strip('"') != found.etag:
        raise PreconditionFailed


async def _copied(
    bucket: Bucket, source: str, upload: dict[str, str], size: int, part_bytes: int
) -> list[dict[str, object]]:
    """All parts of the source, copied a few at a time; as the store wants to be told of them."""
    places = asyncio.Semaphore(PARTS_AT_ONCE)

    async def copied(number: int) -> dict[str, object]:
        first = (number - 1) * part_bytes
        span = {"PartNumber": number, "CopySourceRange": f"bytes={first}-{min(first + part_bytes, size) - 1}"}
        origin = {"CopySource": {"Bucket": bucket.name, "Key": source}}
        async with places:
            answer = await bucket.call("upload_part_copy", **upload, **span, **origin)
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(copied(number)) for number in range(1, -(-size // part_bytes) + 1)]
    return [task.result() for task in tasks]
