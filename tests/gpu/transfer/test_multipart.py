"""Uploads of outputs: the real service issues the URLs; storage is a bucket or a folder."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from callbacks.reporter import Stopped
from gpu.errors import ExportError
from gpu.spec import AttemptSpec, RemoteObject, RemoteUpload
from gpu.transfer import http_client, objects
from gpu.transfer.http_client import Clock
from gpu.transfer.multipart import upload_file
from tests.gpu.run_pipeline import run_to_end
from tests.support.fakes import FakeRun
from tests.support.s3_server import S3Server
from tests.support.small_mp4 import make_video
from tests.support.storage_harness import (
    StorageHarness,
    open_harness,
    settings_for_storage,
    settings_with_bucket,
)

pytestmark = pytest.mark.anyio
CONTENT = make_video(random.Random(3).randbytes(20 * 2**20))  # noqa: S311 - three parts, the same bytes each time
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(params=["folder", "s3"])
async def harness(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[StorageHarness]:
    async with open_harness(await settings_for_storage(request.param, s3_server, data_dir)) as harness:
        yield harness


@pytest.fixture
async def bucket_harness(data_dir: Path, s3_server: S3Server) -> AsyncIterator[StorageHarness]:
    async with open_harness(await settings_with_bucket(s3_server, data_dir)) as harness:
        yield harness


@pytest.fixture
def output_file(tmp_path: Path) -> Path:
    path = tmp_path / "made.mp4"
    path.write_bytes(CONTENT)
    return path


def clock_without_sleep() -> Clock:
    return Clock(sleep=lambda _seconds: None)


async def send(output_file: Path, spec: AttemptSpec) -> tuple[list[float], str]:
    target = spec.transfer.output
    assert isinstance(target, RemoteUpload)
    return await asyncio.to_thread(
        lambda: run_to_end(upload_file(output_file, target, clock=clock_without_sleep()))
    )


async def report_completed(harness: StorageHarness, spec: AttemptSpec) -> httpx.Response:
    run = FakeRun(spec, harness.server.http)
    return await run.report_completed(size=len(CONTENT), checksum=CHECKSUM)


async def test_a_spec_for_a_remote_run_is_small_and_contains_no_paths(harness: StorageHarness) -> None:
    spec = await harness.submit_export()
    assert isinstance(spec.transfer.output, RemoteUpload)
    assert isinstance(spec.transfer.sources[harness.source], RemoteObject)
    raw = spec.model_dump_json(by_alias=True)
    assert len(raw) < 4_096
    assert str(harness.settings.data_dir) not in raw
    assert spec.transfer.output.key not in repr(spec.transfer)


async def test_a_source_is_read_under_the_url_in_the_spec(harness: StorageHarness, tmp_path: Path) -> None:
    spec = await harness.submit_export()
    location = await asyncio.to_thread(objects.open_source, harness.source, spec.transfer.sources, tmp_path)
    assert not isinstance(location, str)
    assert await asyncio.to_thread(location.read_at, 1, 3) == b"ide"


async def test_an_output_arrives_whole_and_becomes_the_export(
    harness: StorageHarness, output_file: Path
) -> None:
    spec = await harness.submit_export()
    shares, checksum = await send(output_file, spec)
    assert checksum == CHECKSUM
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert (await report_completed(harness, spec)).status_code == 200
    response = await harness.server.http.get(f"/api/exports/{spec.job_id}/download", follow_redirects=True)
    assert response.content == CONTENT
    assert f'filename="{spec.job_id}.mp4"' in response.headers["content-disposition"]


async def test_an_output_that_was_sent_can_be_sent_again(harness: StorageHarness, output_file: Path) -> None:
    spec = await harness.submit_export()
    await send(output_file, spec)
    assert (await send(output_file, spec))[1] == CHECKSUM


async def test_an_attempt_that_is_over_may_send_nothing(harness: StorageHarness, output_file: Path) -> None:
    spec = await harness.submit_export()
    assert (await harness.server.http.delete(f"/api/exports/{spec.job_id}")).status_code == 202
    with pytest.raises(Stopped):
        await send(output_file, spec)


async def test_a_key_of_another_attempt_opens_nothing(harness: StorageHarness, output_file: Path) -> None:
    first, second = await harness.submit_export(), await harness.submit_export()
    assert isinstance(first.transfer.output, RemoteUpload)
    assert isinstance(second.transfer.output, RemoteUpload)
    mixed = first.transfer.output.model_copy(update={"key": second.transfer.output.key})
    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(
            lambda: run_to_end(upload_file(output_file, mixed, clock=clock_without_sleep()))
        )
    assert caught.value.code == "output_unwritable"


async def test_a_wrong_size_is_detected(harness: StorageHarness, output_file: Path) -> None:
    spec = await harness.submit_export()
    await send(output_file, spec)
    run = FakeRun(spec, harness.server.http)
    assert (await run.report_completed(size=len(CONTENT) - 1, checksum=CHECKSUM)).status_code == 200
    job = (await harness.server.http.get(f"/api/exports/{spec.job_id}")).json()
    assert job["status"] != "complete"


async def test_what_was_cut_is_sent_again(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.cut_requests, s3_server.faults.cut_after_bytes = 4, 3_000_000
    s3_server.requests.clear()
    assert (await send(output_file, spec))[1] == CHECKSUM
    puts = [path for method, path, _ in s3_server.requests if method == "PUT"]
    assert len(puts) == 3 + 4
    assert (await report_completed(bucket_harness, spec)).status_code == 200


async def test_a_busy_bucket_is_waited_for(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()

    def busy_between_parts() -> str:
        sending = upload_file(output_file, target, clock=clock_without_sleep())
        while True:
            try:
                next(sending)
                s3_server.faults.busy_responses = 1
            except StopIteration as stop:
                return str(stop.value)

    assert await asyncio.to_thread(busy_between_parts) == CHECKSUM


async def test_a_bucket_that_stays_busy_fails_the_attempt_not_the_export(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()

    def send_over_broken_connections() -> None:
        for share in upload_file(output_file, target, clock=clock_without_sleep()):
            if share > http_client.MAX_TRIES / 100:
                s3_server.faults.cut_requests, s3_server.faults.cut_after_bytes = 10_000, 10

    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(send_over_broken_connections)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_a_part_that_storage_lost_is_sent_again(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.lost_writes = 2
    assert (await send(output_file, spec))[1] == CHECKSUM
    assert s3_server.faults.lost_writes == 0


async def test_storage_that_keeps_nothing_fails_the_attempt(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.lost_writes = 10_000
    with pytest.raises(ExportError) as caught:
        await send(output_file, spec)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_urls_that_have_grown_old_are_replaced(
    s3_server: S3Server, bucket_harness: StorageHarness, output_file: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()
    sending = upload_file(output_file, target, clock=clock_without_sleep())

    def send_with_an_expired_url() -> str:
        shares = []
        while True:
            try:
                shares.append(next(sending))
                if len(shares) == 22:  # the file was read in 21 steps, and the first part is there
                    expire_once()
            except StopIteration as stop:
                return str(stop.value)

    def expire_once() -> None:
        s3_server.faults.expired_writes = 1

    assert await asyncio.to_thread(send_with_an_expired_url) == CHECKSUM
    assert s3_server.faults.expired_writes == 0
