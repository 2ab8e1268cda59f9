"""The conformance suite of the Storage protocol, run against a folder and an S3 bucket."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.storage import (
    Download,
    FileDownload,
    FolderStorage,
    InvalidKey,
    NoSuchUpload,
    Part,
    Presentation,
)
from tests.infra.storage.storage_cases import StorageCase, checksum, open_storage
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.anyio
MIB = 2**20
AS_MP4 = Presentation("a.mp4", "video/mp4")


@pytest.fixture(params=["folder", "s3"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server
) -> AsyncIterator[StorageCase]:
    async with open_storage(request.param, tmp_path, s3_server) as case:
        yield case


async def test_an_unknown_key_is_not_found(case: StorageCase) -> None:
    assert await case.storage.find("ann", "uploads/none.mp4") is None


async def test_a_stored_object_is_found_with_its_size_and_time(case: StorageCase) -> None:
    await case.put("ann", "uploads/a b ü.mp4", b"0123456789")
    stored = await case.storage.find("ann", "uploads/a b ü.mp4")
    assert stored is not None
    assert stored.size == 10
    assert abs(stored.modified_at - time.time()) < 60
    assert stored.etag


async def test_the_etag_changes_with_the_content(case: StorageCase) -> None:
    await case.put("ann", "k", b"one")
    first = await case.storage.find("ann", "k")
    await case.put("ann", "k", b"other")
    second = await case.storage.find("ann", "k")
    assert first is not None
    assert second is not None
    assert first.etag != second.etag


async def test_only_a_stored_object_can_be_downloaded(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"video")
    download = await case.storage.open_download("ann", "exports/1.mp4", AS_MP4, expires_seconds=60)
    assert download is not None
    assert download.stored == await case.storage.find("ann", "exports/1.mp4")
    assert await _read_download(download) == b"video"
    assert await case.storage.open_download("bob", "exports/1.mp4", AS_MP4, expires_seconds=60) is None
    assert await case.storage.open_download("ann", "../1.mp4", AS_MP4, expires_seconds=60) is None


async def _read_download(download: Download) -> bytes:
    if isinstance(download, FileDownload):
        return download.path.read_bytes()
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(download.url)).content


async def test_users_do_not_see_each_others_objects(case: StorageCase) -> None:
    await case.put("ann", "uploads/a.mp4", b"hers")
    assert await case.storage.find("bob", "uploads/a.mp4") is None
    await case.storage.delete("bob", "uploads/a.mp4")
    await case.storage.delete_folder("bob", "uploads")
    assert await case.storage.find("ann", "uploads/a.mp4") is not None


async def test_publishing_moves_the_stated_output(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    assert await _publish_output(case, b"video")
    assert await case.storage.find("ann", ".attempts/1/output.mp4") is None
    assert await case.storage.find("ann", "exports/1.mp4") is not None


async def test_publishing_may_be_repeated(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    assert await _publish_output(case, b"video")
    assert await _publish_output(case, b"video")


async def test_concurrent_publishing_succeeds(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    results = await asyncio.gather(_publish_output(case, b"video"), _publish_output(case, b"video"))
    assert any(results)
    assert await case.storage.exists_with("ann", "exports/1.mp4", size=5, checksum=checksum(b"video"))
    assert not await case.storage.exists_with("ann", "exports/1.mp4", size=6, checksum=checksum(b"video"))
    assert not await case.storage.exists_with("ann", "exports/2.mp4", size=5, checksum=checksum(b"video"))
    assert await _publish_output(case, b"video")


async def test_an_output_of_another_size_is_not_published(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"earlier")
    await case.put("ann", ".attempts/1/output.mp4", b"video, cut")
    assert not await _publish_output(case, b"video")
    stored = await case.storage.find("ann", "exports/1.mp4")
    assert stored is not None
    assert stored.size == len(b"earlier")


async def test_an_output_with_another_checksum_is_not_published(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"vidfo")
    assert not await _publish_output(case, b"video")


async def test_a_missing_output_is_not_published(case: StorageCase) -> None:
    assert not await _publish_output(case, b"video")


async def test_an_object_with_another_checksum_is_not_deleted(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"video")
    await case.storage.delete("ann", "exports/1.mp4", checksum="sha256:" + "0" * 64)
    assert await case.storage.find("ann", "exports/1.mp4") is not None
    await case.storage.delete("ann", "exports/1.mp4", checksum=checksum(b"video"))
    assert await case.storage.find("ann", "exports/1.mp4") is None
    await case.storage.delete("ann", "exports/1.mp4")


async def test_deleting_a_folder_deletes_its_objects_and_uploads_only(case: StorageCase) -> None:
    for key in (".attempts/1/output.mp4", ".attempts/1/chunks/2.mp4", ".attempts/10/output.mp4"):
        await case.put("ann", key, b"x")
    upload_id = await case.storage.create_multipart(
        "ann", ".attempts/1/more.mp4", size=1, content_type="video/mp4"
    )
    await case.storage.delete_folder("ann", ".attempts/1")
    assert await case.storage.find("ann", ".attempts/1/output.mp4") is None
    assert await case.storage.find("ann", ".attempts/1/chunks/2.mp4") is None
    assert await case.storage.find("ann", ".attempts/10/output.mp4") is not None
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", ".attempts/1/more.mp4", upload_id)
    await case.storage.delete_folder("ann", ".attempts/1")


async def test_a_multipart_upload_becomes_an_object_when_it_is_complete(case: StorageCase) -> None:
    first, second = b"a" * 8 * MIB, b"the rest"
    upload_id = await case.storage.create_multipart(
        "ann", "big.mp4", size=8 * MIB + 8, content_type="video/mp4", checksum=checksum(first + second)
    )
    await case.send_part(upload_id, 2, second)
    assert [
        (part.number, part.size) for part in await case.storage.list_parts("ann", "big.mp4", upload_id)
    ] == [(2, 8)]
    await case.send_part(upload_id, 1, first)
    assert await case.storage.find("ann", "big.mp4") is None
    parts = await case.storage.list_parts("ann", "big.mp4", upload_id)
    assert [(part.number, part.size) for part in parts] == [(1, 8 * MIB), (2, 8)]
    await case.storage.complete_multipart("ann", "big.mp4", upload_id, parts)
    stored = await case.storage.find("ann", "big.mp4")
    assert stored is not None
    assert stored.size == 8 * MIB + 8
    assert await case.storage.publish(
        "ann", "big.mp4", "exports/big.mp4", size=stored.size, checksum=checksum(first + second)
    )
    with pytest.raises(NoSuchUpload):
        await case.storage.complete_multipart("ann", "big.mp4", upload_id, parts)


async def test_a_part_may_be_sent_again(case: StorageCase) -> None:
    upload_id = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    await case.send_part(upload_id, 1, b"first try", key="a.mp4")
    await case.send_part(upload_id, 1, b"next try!", key="a.mp4")
    parts = await case.storage.list_parts("ann", "a.mp4", upload_id)
    assert [(part.number, part.size) for part in parts] == [(1, 9)]
    await case.storage.complete_multipart("ann", "a.mp4", upload_id, parts)
    published = await case.storage.publish("ann", "a.mp4", "b.mp4", size=9, checksum=checksum(b"next try!"))
    # S3 knows only a checksum that was stated when the upload was created; a folder reads the content.
    assert published is isinstance(case.storage, FolderStorage)


async def test_an_aborted_upload_is_unknown(case: StorageCase) -> None:
    upload_id = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    await case.storage.abort_multipart("ann", "a.mp4", upload_id)
    await case.storage.abort_multipart("ann", "a.mp4", upload_id)
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", "a.mp4", upload_id)


async def test_an_upload_is_bound_to_its_user_and_key(case: StorageCase) -> None:
    upload_id = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    for user_id, key in (("bob", "a.mp4"), ("ann", "b.mp4")):
        with pytest.raises(NoSuchUpload):
            await case.storage.complete_multipart(user_id, key, upload_id, [Part(1, 1, "0" * 32)])


async def test_abandoned_uploads_are_aborted_and_recent_ones_are_not(case: StorageCase) -> None:
    key = "uploads/0123456789abcdef0123456789abcdef/a.mp4"
    upload_id = await case.storage.create_multipart("ann", key, size=9, content_type="video/mp4")
    await case.send_part(upload_id, 1, b"the video", key=key)
    assert await case.storage.abort_abandoned_uploads() == 0
    assert len(await case.storage.list_parts("ann", key, upload_id)) == 1
    assert await case.storage.abort_abandoned_uploads(older_than_seconds=-3_600) == 1
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", key, upload_id)


async def test_aborting_the_uploads_to_a_folder_keeps_its_objects(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"x")
    upload_id = await case.storage.create_multipart(
        "ann", ".attempts/1/more.mp4", size=1, content_type="video/mp4"
    )
    await case.storage.abort_uploads("ann", ".attempts/1")
    assert await case.storage.find("ann", ".attempts/1/output.mp4") is not None
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", ".attempts/1/more.mp4", upload_id)


async def test_there_is_space_for_a_small_object(case: StorageCase) -> None:
    await case.storage.check_free_space(1)


async def test_a_working_storage_passes_its_check(case: StorageCase) -> None:
    await case.storage.check()


async def test_the_repr_of_a_signed_url_does_not_contain_it(case: StorageCase) -> None:
    signed = await case.storage.sign_read_url("ann", "a.mp4", expires_seconds=60)
    assert signed.url not in repr(signed)


HOSTILE_KEYS = [
    "../bob/a", "..", ".", "", "/", "/etc/passwd", "a/../../bob/a", "a//b", "./a", "a/", "a/.", "%2e%2e/bob/a",
    "..%2fbob", "..\\bob", "a\0b", "a\nb", "a\ud800b", "x" * 5_000, "a/" + "y" * 300,
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_a_key_that_leads_out_of_the_users_folder_is_rejected(case: StorageCase, key: str) -> None:
    storage, digest = case.storage, checksum(b"x")
    assert await storage.find("ann", key) is None
    with pytest.raises(InvalidKey):
        storage.local_path("ann", key)
    with pytest.raises(InvalidKey):
        storage.has_path_conflict("ann", key)
    for call in (
        storage.sign_read_url("ann", key, expires_seconds=60),
        storage.sign_write_url("ann", key, size=1, content_type="video/mp4", expires_seconds=60),
        storage.sign_part_url("ann", key, "0" * 32, 1, size=1, expires_seconds=60),
        storage.create_multipart("ann", key, size=1, content_type="video/mp4"),
        storage.list_parts("ann", key, "0" * 32),
        storage.complete_multipart("ann", key, "0" * 32, []),
        storage.abort_multipart("ann", key, "0" * 32),
        storage.exists_with("ann", key, size=1, checksum=digest),
        storage.publish("ann", "a", key, size=1, checksum=digest),
        storage.publish("ann", key, "a", size=1, checksum=digest),
        storage.delete("ann", key),
        storage.abort_uploads("ann", key),
        storage.delete_folder("ann", key),
    ):
        with pytest.raises(InvalidKey):
            await call


async def _publish_output(case: StorageCase, stated: bytes) -> bool:
    return await case.storage.publish(
        "ann", ".attempts/1/output.mp4", "exports/1.mp4", size=len(stated), checksum=checksum(stated)
    )


async def test_an_erased_object_leaves_no_upload_and_no_neighbour_is_touched(case: StorageCase) -> None:
    await case.put("ann", "films/best.mp4", b"video")
    await case.put("ann", "films/best.mp4.txt", b"notes")
    upload = await case.storage.create_multipart("ann", "films/best.mp4", size=5, content_type="video/mp4")
    await case.send_part(upload, 1, b"video", key="films/best.mp4")
    for _ in range(2):
        await case.storage.erase("ann", "films/best.mp4")
    assert await case.storage.find("ann", "films/best.mp4") is None
    assert await case.storage.find("ann", "films/best.mp4.txt") is not None
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", "films/best.mp4", upload)
    with pytest.raises(InvalidKey):
        await case.storage.erase("ann", "../bob/k")


async def test_everything_of_a_user_is_measured_and_deleted_and_nothing_of_others(case: StorageCase) -> None:
    storage = case.storage
    for key in ("exports/1.mp4", "uploads/a/b.mp4", ".attempts/1-1/output.mp4"):
        await case.put("ann", key, b"hers")
        await case.put("anna", key, b"another one's")
    upload = await storage.create_multipart("ann", "uploads/c/d.mp4", size=5, content_type="video/mp4")
    measured = await storage.measure_user("ann")
    assert (measured.objects, measured.bytes) == (3, 12)
    for _ in range(2):
        await storage.delete_user("ann")
    assert (await storage.measure_user("ann")).objects == 0
    assert (await storage.measure_user("anna")).objects == 3
    with pytest.raises(NoSuchUpload):
        await storage.list_parts("ann", "uploads/c/d.mp4", upload)
