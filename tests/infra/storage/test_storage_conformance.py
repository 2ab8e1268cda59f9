"""One suite for every storage: a folder, and an S3 bucket behind a server that checks signatures."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from infra.storage import Download, FileDownload, FolderStorage, InvalidKey, NoSuchUpload, Part
from tests.support.s3_server import S3Server, run_s3_server
from tests.support.storage_cases import StorageCase, checksum, open_storage

pytestmark = pytest.mark.anyio
MIB = 2**20


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with run_s3_server() as s3_server:
        yield s3_server


@pytest.fixture(params=["folder", "s3"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server
) -> AsyncIterator[StorageCase]:
    async with open_storage(request.param, tmp_path, s3_server) as case:
        yield case


async def test_what_was_never_stored_is_not_found(case: StorageCase) -> None:
    assert await case.storage.find("ann", "uploads/none.mp4") is None


async def test_what_is_stored_is_found_with_its_size_and_time(case: StorageCase) -> None:
    await case.put("ann", "uploads/a b ü.mp4", b"0123456789")
    found = await case.storage.find("ann", "uploads/a b ü.mp4")
    assert found is not None
    assert found.size == 10
    assert abs(found.modified_at - time.time()) < 60
    assert found.etag


async def test_the_etag_changes_with_the_content(case: StorageCase) -> None:
    await case.put("ann", "k", b"one")
    first = await case.storage.find("ann", "k")
    await case.put("ann", "k", b"other")
    second = await case.storage.find("ann", "k")
    assert first is not None
    assert second is not None
    assert first.etag != second.etag


async def test_a_download_is_of_what_is_stored_or_of_nothing(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"video")
    download = await case.storage.open_download("ann", "exports/1.mp4", filename="a.mp4", expires_seconds=60)
    assert download is not None
    assert download.stored == await case.storage.find("ann", "exports/1.mp4")
    assert await _read(download) == b"video"
    assert (
        await case.storage.open_download("bob", "exports/1.mp4", filename="a.mp4", expires_seconds=60) is None
    )
    assert await case.storage.open_download("ann", "../1.mp4", filename="a.mp4", expires_seconds=60) is None


async def _read(download: Download) -> bytes:
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


async def test_publishing_moves_what_was_promised(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    assert await _published(case, b"video")
    assert await case.storage.find("ann", ".attempts/1/output.mp4") is None
    assert await case.storage.find("ann", "exports/1.mp4") is not None


async def test_publishing_twice_is_as_good_as_once(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    assert await _published(case, b"video")
    assert await _published(case, b"video")


async def test_two_who_publish_at_once_both_succeed_or_find_it_there(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"video")
    results = await asyncio.gather(_published(case, b"video"), _published(case, b"video"))
    assert any(results)
    assert await case.storage.exists_with("ann", "exports/1.mp4", size=5, checksum=checksum(b"video"))
    assert not await case.storage.exists_with("ann", "exports/1.mp4", size=6, checksum=checksum(b"video"))
    assert not await case.storage.exists_with("ann", "exports/2.mp4", size=5, checksum=checksum(b"video"))
    assert await _published(case, b"video")


async def test_an_output_of_another_size_is_not_published(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"earlier")
    await case.put("ann", ".attempts/1/output.mp4", b"video, cut")
    assert not await _published(case, b"video")
    found = await case.storage.find("ann", "exports/1.mp4")
    assert found is not None
    assert found.size == len(b"earlier")


async def test_an_output_with_another_checksum_is_not_published(case: StorageCase) -> None:
    await case.put("ann", ".attempts/1/output.mp4", b"vidfo")
    assert not await _published(case, b"video")


async def test_a_missing_output_is_not_published(case: StorageCase) -> None:
    assert not await _published(case, b"video")


async def test_an_object_is_discarded_only_if_it_is_the_one_meant(case: StorageCase) -> None:
    await case.put("ann", "exports/1.mp4", b"video")
    await case.storage.delete("ann", "exports/1.mp4", checksum="sha256:" + "0" * 64)
    assert await case.storage.find("ann", "exports/1.mp4") is not None
    await case.storage.delete("ann", "exports/1.mp4", checksum=checksum(b"video"))
    assert await case.storage.find("ann", "exports/1.mp4") is None
    await case.storage.delete("ann", "exports/1.mp4")


async def test_a_folder_goes_with_all_that_is_in_it_and_nothing_beside_it(case: StorageCase) -> None:
    for key in (".attempts/1/output.mp4", ".attempts/1/piece/2.mp4", ".attempts/10/output.mp4"):
        await case.put("ann", key, b"x")
    begun = await case.storage.create_multipart(
        "ann", ".attempts/1/more.mp4", size=1, content_type="video/mp4"
    )
    await case.storage.delete_folder("ann", ".attempts/1")
    assert await case.storage.find("ann", ".attempts/1/output.mp4") is None
    assert await case.storage.find("ann", ".attempts/1/piece/2.mp4") is None
    assert await case.storage.find("ann", ".attempts/10/output.mp4") is not None
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", ".attempts/1/more.mp4", begun)
    await case.storage.delete_folder("ann", ".attempts/1")


async def test_an_upload_in_parts_is_seen_only_when_it_is_complete(case: StorageCase) -> None:
    first, second = b"a" * 8 * MIB, b"the rest"
    upload = await case.storage.create_multipart(
        "ann", "big.mp4", size=8 * MIB + 8, content_type="video/mp4", checksum=checksum(first + second)
    )
    await case.send_part(upload, 2, second)
    assert [(part.number, part.size) for part in await case.storage.list_parts("ann", "big.mp4", upload)] == [
        (2, 8)
    ]
    await case.send_part(upload, 1, first)
    assert await case.storage.find("ann", "big.mp4") is None
    parts = await case.storage.list_parts("ann", "big.mp4", upload)
    assert [(part.number, part.size) for part in parts] == [(1, 8 * MIB), (2, 8)]
    await case.storage.complete_multipart("ann", "big.mp4", upload, parts)
    found = await case.storage.find("ann", "big.mp4")
    assert found is not None
    assert found.size == 8 * MIB + 8
    assert await case.storage.publish(
        "ann", "big.mp4", "exports/big.mp4", size=found.size, checksum=checksum(first + second)
    )
    with pytest.raises(NoSuchUpload):
        await case.storage.complete_multipart("ann", "big.mp4", upload, parts)


async def test_a_part_may_be_sent_again(case: StorageCase) -> None:
    upload = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    await case.send_part(upload, 1, b"first try", key="a.mp4")
    await case.send_part(upload, 1, b"next try!", key="a.mp4")
    parts = await case.storage.list_parts("ann", "a.mp4", upload)
    assert [(part.number, part.size) for part in parts] == [(1, 9)]
    await case.storage.complete_multipart("ann", "a.mp4", upload, parts)
    assert await case.storage.publish("ann", "a.mp4", "b.mp4", size=9, checksum=checksum(b"next try!")) is (
        isinstance(case.storage, FolderStorage)  # S3 knows only a checksum that was stated at the beginning
    )


async def test_an_upload_that_was_given_up_is_gone(case: StorageCase) -> None:
    upload = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    await case.storage.abort_multipart("ann", "a.mp4", upload)
    await case.storage.abort_multipart("ann", "a.mp4", upload)
    with pytest.raises(NoSuchUpload):
        await case.storage.list_parts("ann", "a.mp4", upload)


async def test_an_upload_is_bound_to_its_user_and_key(case: StorageCase) -> None:
    upload = await case.storage.create_multipart("ann", "a.mp4", size=9, content_type="video/mp4")
    for user_id, key in (("bob", "a.mp4"), ("ann", "b.mp4")):
        with pytest.raises(NoSuchUpload):
            await case.storage.complete_multipart(user_id, key, upload, [Part(1, 1, "0" * 32)])


async def test_a_storage_that_works_says_so(case: StorageCase) -> None:
    await case.storage.check()


async def test_signed_urls_do_not_show_in_what_is_logged(case: StorageCase) -> None:
    signed = await case.storage.sign_read_url("ann", "a.mp4", expires_seconds=60)
    assert signed.url not in repr(signed)


EVIL = [
    "../bob/a", "..", ".", "", "/", "/etc/passwd", "a/../../bob/a", "a//b", "./a", "a/", "a/.", "%2e%2e/bob/a",
    "..%2fbob", "..\\bob", "a\0b", "a\nb", "a\ud800b", "x" * 5_000, "a/" + "y" * 300,
]  # fmt: skip


@pytest.mark.parametrize("key", EVIL)
async def test_a_key_that_leads_elsewhere_is_refused(case: StorageCase, key: str) -> None:
    assert await case.storage.find("ann", key) is None
    with pytest.raises(InvalidKey):
        await case.storage.sign_read_url("ann", key, expires_seconds=60)
    with pytest.raises(InvalidKey):
        await case.storage.create_multipart("ann", key, size=1, content_type="video/mp4")
    with pytest.raises(InvalidKey):
        await case.storage.publish("ann", "a", key, size=1, checksum=checksum(b"x"))


async def _published(case: StorageCase, promised: bytes) -> bool:
    return await case.storage.publish(
        "ann", ".attempts/1/output.mp4", "exports/1.mp4", size=len(promised), checksum=checksum(promised)
    )
