"""Abandoned multipart uploads are aborted in a bucket, by any number of replicas."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from tests.infra.storage.storage_cases import BucketCase
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.anyio
UPLOAD = "uploads/0123456789abcdef0123456789abcdef/a.mp4"
OUTPUT = ".attempts/01a20aa9-a7a5-74cb-b325-aed3f9bd1d4e-1/output.mp4"
ANY_AGE_SECONDS = -3_600.0


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[Bucket]:
    bucket = Bucket(s3_server.client_config())
    await bucket.create()
    yield bucket
    await bucket.close()


async def list_unfinished(bucket: Bucket) -> list[str]:
    return sorted(upload["Key"] for upload in await bucket.list_all("list_multipart_uploads", "Uploads"))


async def test_old_uploads_are_aborted_and_those_of_other_programs_are_not(bucket: Bucket) -> None:
    storage = S3Storage(bucket)
    for key in (UPLOAD, OUTPUT):
        await storage.create_multipart("ann", key, size=9, content_type="video/mp4")
    await bucket.call("create_multipart_upload", Key="backups/of/another/program.tar")
    replicas = await asyncio.gather(
        storage.abort_abandoned_uploads(ANY_AGE_SECONDS),
        S3Storage(bucket).abort_abandoned_uploads(ANY_AGE_SECONDS),
    )
    assert max(replicas) == 2
    assert await list_unfinished(bucket) == ["backups/of/another/program.tar"]


async def test_an_upload_with_a_recent_part_is_kept(bucket: Bucket) -> None:
    storage = S3Storage(bucket)
    upload = await storage.create_multipart("ann", UPLOAD, size=9, content_type="video/mp4")
    await BucketCase(storage, bucket).send_part(upload, 1, b"the video", key=UPLOAD)
    assert await storage.abort_abandoned_uploads() == 0
    assert await list_unfinished(bucket) == [f"ann/{UPLOAD}"]
