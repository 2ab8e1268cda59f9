"""Uploads in parts that can't be completed any more are removed from a bucket, by however many replicas."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from tests.support.s3_server import S3Server, run_s3_server
from tests.support.storage_cases import BucketCase

pytestmark = pytest.mark.anyio
UPLOAD = "uploads/0123456789abcdef0123456789abcdef/a.mp4"
OUTPUT = ".attempts/01a20aa9-a7a5-74cb-b325-aed3f9bd1d4e-1/output.mp4"
EVERYTHING = -3_600.0


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with run_s3_server() as s3_server:
        yield s3_server


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[Bucket]:
    bucket = Bucket(s3_server.client_config())
    await bucket.create()
    yield bucket
    await bucket.close()


async def unfinished(bucket: Bucket) -> list[str]:
    return sorted(found["Key"] for found in await bucket.list_all("list_multipart_uploads", "Uploads"))


async def test_old_uploads_are_removed_and_those_of_other_programs_are_not(bucket: Bucket) -> None:
    storage = S3Storage(bucket)
    for key in (UPLOAD, OUTPUT):
        await storage.create_multipart("ann", key, size=9, content_type="video/mp4")
    await bucket.call("create_multipart_upload", Key="backups/of/another/program.tar")
    replicas = await asyncio.gather(
        storage.abort_abandoned_uploads(EVERYTHING), S3Storage(bucket).abort_abandoned_uploads(EVERYTHING)
    )
    assert max(replicas) == 2
    assert await unfinished(bucket) == ["backups/of/another/program.tar"]


async def test_an_upload_that_goes_on_is_left_alone(bucket: Bucket) -> None:
    storage = S3Storage(bucket)
    upload = await storage.create_multipart("ann", UPLOAD, size=9, content_type="video/mp4")
    await BucketCase(storage, bucket).send_part(upload, 1, b"the video", key=UPLOAD)
    assert await storage.abort_abandoned_uploads() == 0
    assert await unfinished(bucket) == [f"ann/{UPLOAD}"]
