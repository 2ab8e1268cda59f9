"""S3 only: what signatures bind, how errors are mapped, copies of any size."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.storage import (
    BucketNotFound,
    FolderStorage,
    Presentation,
    Storage,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)
from infra.storage.client import Bucket, S3Config
from infra.storage.content_disposition import format_content_disposition
from infra.storage.s3 import S3Storage
from infra.storage.s3_publish import copy_object
from tests.support.s3_server import S3Server
from tests.support.sigv4 import SECRET_KEY

pytestmark = pytest.mark.anyio
MIB = 2**20


@pytest.fixture
async def bucket(s3_server: S3Server) -> AsyncIterator[Bucket]:
    bucket = Bucket(s3_server.client_config(), attempts=2)
    await bucket.create()
    yield bucket
    await bucket.close()


@pytest.fixture
def storage(bucket: Bucket) -> Storage:
    return S3Storage(bucket)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_an_upload_url_accepts_the_file_that_it_was_signed_for(
    storage: Storage, client: httpx.AsyncClient
) -> None:
    signed = await storage.sign_write_url(
        "ann", "a b.mp4", size=5, content_type="video/mp4", expires_seconds=60
    )
    assert (await client.put(signed.url, content=b"video", headers=signed.headers)).status_code == 200
    stored = await storage.find("ann", "a b.mp4")
    assert stored is not None
    assert stored.size == 5


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        pytest.param(b"videos", "video/mp4", id="longer"),
        pytest.param(b"vide", "video/mp4", id="shorter"),
        pytest.param(b"video", "text/html", id="of another type"),
        pytest.param(b"video", None, id="without a type"),
    ],
)
async def test_an_upload_url_accepts_no_other_body_or_type(
    storage: Storage, client: httpx.AsyncClient, content: bytes, content_type: str | None
) -> None:
    signed = await storage.sign_write_url(
        "ann", "a.mp4", size=5, content_type="video/mp4", expires_seconds=60
    )
    headers = {"Content-Type": content_type} if content_type else {}
    assert (await client.put(signed.url, content=content, headers=headers)).status_code == 403
    assert await storage.find("ann", "a.mp4") is None


async def test_a_url_is_valid_for_one_key_and_one_method(storage: Storage, client: httpx.AsyncClient) -> None:
    signed = await storage.sign_read_url("ann", "a.mp4", expires_seconds=60)
    assert (await client.get(signed.url.replace("/ann/", "/bob/"))).status_code == 403
    assert (await client.put(signed.url, content=b"x")).status_code == 403
    assert (await client.get(signed.url)).status_code == 404


async def test_a_url_expires(s3_server: S3Server, storage: Storage, client: httpx.AsyncClient) -> None:
    signed = await storage.sign_write_url(
        "ann", "a.mp4", size=1, content_type="video/mp4", expires_seconds=60
    )
    s3_server.faults.clock_ahead_seconds = 61
    assert (await client.put(signed.url, content=b"x", headers=signed.headers)).status_code == 403


async def test_a_part_url_is_bound_to_its_size(storage: Storage, client: httpx.AsyncClient) -> None:
    upload = await storage.create_multipart("ann", "a.mp4", size=5, content_type="video/mp4")
    signed = await storage.sign_part_url("ann", "a.mp4", upload, 1, size=5, expires_seconds=60)
    assert (await client.put(signed.url, content=b"too long")).status_code == 403
    assert (await client.put(signed.url, content=b"video")).status_code == 200


async def test_a_part_with_another_checksum_is_rejected(storage: Storage, client: httpx.AsyncClient) -> None:
    upload = await storage.create_multipart("ann", "a.mp4", size=5, content_type="video/mp4")
    signed = await storage.sign_part_url("ann", "a.mp4", upload, 1, size=5, expires_seconds=60)
    wrong = {"Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A=="}
    assert (await client.put(signed.url, content=b"video", headers=wrong)).status_code == 400
    assert await storage.list_parts("ann", "a.mp4", upload) == []


async def test_a_download_url_names_the_file_and_serves_ranges(
    bucket: Bucket, storage: Storage, client: httpx.AsyncClient
) -> None:
    await bucket.call("put_object", Key="ann/exports/a.mp4", Body=b"0123456789")
    signed = await storage.sign_read_url(
        "ann",
        "exports/a.mp4",
        expires_seconds=60,
        presentation=Presentation('Tor von "Özil".mp4', "video/mp4"),
    )
    response = await client.get(signed.url, headers={"Range": "bytes=2-4"})
    assert (response.status_code, response.content) == (206, b"234")
    assert "%C3%96zil" in response.headers["content-disposition"]
    assert response.headers["content-disposition"].startswith("attachment;")


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    assert format_content_disposition("attachment", 'a"; filename="b\\\r\nX: y.mp4') == (
        'attachment; filename="a_; filename=_b___X: y.mp4"; '
        "filename*=UTF-8''a%22%3B%20filename%3D%22b%5C%0D%0AX%3A%20y.mp4"
    )


async def test_a_request_to_a_busy_storage_is_repeated(s3_server: S3Server, storage: Storage) -> None:
    s3_server.faults.busy_responses = 1
    assert await storage.find("ann", "a.mp4") is None
    assert len([method for method, _, _ in s3_server.requests if method == "HEAD"]) == 2


async def test_a_throttled_request_is_repeated(s3_server: S3Server, storage: Storage) -> None:
    s3_server.faults.throttled_responses = 1  # R2 allows one write per second and key
    await storage.delete("ann", "a.mp4")
    assert len([method for method, _, _ in s3_server.requests if method == "DELETE"]) == 2


async def test_a_storage_that_stays_busy_is_unavailable(s3_server: S3Server, storage: Storage) -> None:
    s3_server.faults.busy_responses = 1_000
    with pytest.raises(StorageUnavailable) as caught:
        await storage.create_multipart("ann", "a.mp4", size=5, content_type="video/mp4")
    assert caught.value.code == "storage_unavailable"
    assert len([method for method, _, _ in s3_server.requests if method == "POST"]) == 2


async def test_a_missing_bucket_raises_its_own_error(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.client_config("missing-bucket"), attempts=1)
    storage = S3Storage(bucket)
    for call in (storage.check(), storage.create_multipart("ann", "a.mp4", size=5, content_type="video/mp4")):
        with pytest.raises(BucketNotFound):
            await call
    await storage.close()


async def test_rejected_credentials_raise_an_error_without_the_secret(
    s3_server: S3Server, bucket: Bucket
) -> None:
    wrong = Bucket(s3_server.client_config(bucket.name, secret="not the secret at all"), attempts=1)
    storage = S3Storage(wrong)
    for call in (storage.check(), storage.find("ann", "a.mp4")):
        with pytest.raises(StorageForbidden) as caught:
            await call
        assert "not the secret" not in f"{caught.value!r}{caught.value.__context__}"
    await storage.close()


async def test_missing_permission_raises_its_own_error(s3_server: S3Server, storage: Storage) -> None:
    s3_server.faults.forbidden = True
    with pytest.raises(StorageForbidden):
        await storage.delete("ann", "a.mp4")


async def test_an_address_without_a_server_is_unavailable() -> None:
    storage = S3Storage(Bucket(S3Config("http://127.0.0.1:9", "AKIA", "secret", "bucket"), attempts=1))
    with pytest.raises(StorageUnavailable) as caught:
        await storage.find("ann", "secret-key.mp4")
    assert "secret" not in str(caught.value)
    await storage.close()


def test_the_repr_of_a_config_does_not_contain_its_secret(s3_server: S3Server) -> None:
    assert SECRET_KEY not in repr(s3_server.client_config())


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://0123456789abcdef.r2.cloudflarestorage.com", "auto"),
        ("https://0123456789abcdef.eu.r2.cloudflarestorage.com", "auto"),
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.amazonaws.com", "us-east-1"),
        ("http://127.0.0.1:9000", "auto"),
    ],
)
async def test_the_region_follows_from_the_endpoint(url: str, region: str) -> None:
    bucket = Bucket(S3Config(url, "AKIA", "secret", "bucket"))
    signed = await bucket.presign("get_object", 60, Key="k")
    assert f"%2F{region}%2Fs3%2Faws4_request" in signed
    await bucket.close()


async def test_a_large_object_is_copied_in_parts(bucket: Bucket, storage: Storage) -> None:
    content = bytes(range(256)) * (11 * MIB // 256)
    digest = hashlib.sha256(content).hexdigest()
    metadata = {"sha256": digest}
    await bucket.call("put_object", Key="ann/from", Body=content, ContentType="image/png", Metadata=metadata)
    stored = await storage.find("ann", "from")
    assert stored is not None
    assert await copy_object(bucket, "ann/from", "ann/to", stored, single_bytes=MIB, part_bytes=5 * MIB)
    copy = await bucket.call("get_object", Key="ann/to")
    assert (copy["Metadata"], copy["ContentType"]) == (metadata, "image/png")
    assert await asyncio.to_thread(copy["Body"].read) == content


async def test_a_copy_of_a_deleted_object_fails_and_leaves_nothing(bucket: Bucket, storage: Storage) -> None:
    await bucket.call("put_object", Key="ann/from", Body=b"x" * 6 * MIB, Metadata={"sha256": "0" * 64})
    stored = await storage.find("ann", "from")
    assert stored is not None
    await storage.delete("ann", "from")
    assert not await copy_object(bucket, "ann/from", "ann/to", stored, single_bytes=MIB, part_bytes=5 * MIB)
    assert await bucket.list_all("list_multipart_uploads", "Uploads") == []
    assert await storage.find("ann", "to") is None


async def test_a_copy_of_an_object_that_was_replaced_fails_and_leaves_nothing(
    bucket: Bucket, storage: Storage
) -> None:
    await bucket.call("put_object", Key="ann/from", Body=b"x" * 6 * MIB, Metadata={"sha256": "0" * 64})
    stored = await storage.find("ann", "from")
    assert stored is not None
    await bucket.call("put_object", Key="ann/from", Body=b"y" * 6 * MIB, Metadata={"sha256": "0" * 64})
    assert not await copy_object(bucket, "ann/from", "ann/to", stored, single_bytes=MIB, part_bytes=5 * MIB)
    assert await bucket.list_all("list_multipart_uploads", "Uploads") == []
    assert await storage.find("ann", "to") is None


async def test_publishing_continues_after_a_failure(
    s3_server: S3Server, bucket: Bucket, storage: Storage
) -> None:
    digest = hashlib.sha256(b"video").hexdigest()
    await bucket.call("put_object", Key="ann/from", Body=b"video", Metadata={"sha256": digest})
    await bucket.call("copy_object", Key="ann/to", CopySource={"Bucket": bucket.name, "Key": "ann/from"})
    assert await storage.publish("ann", "from", "to", size=5, checksum=f"sha256:{digest}")
    s3_server.faults.busy_responses = 1_000
    with pytest.raises(StorageError):
        await storage.publish("ann", "from", "to", size=5, checksum=f"sha256:{digest}")
    s3_server.faults.busy_responses = 0
    assert await storage.publish("ann", "from", "to", size=5, checksum=f"sha256:{digest}")


async def test_a_folder_without_a_url_signer_cannot_sign(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="sign URLs"):
        await FolderStorage(tmp_path).sign_read_url("ann", "a.mp4", expires_seconds=60)
