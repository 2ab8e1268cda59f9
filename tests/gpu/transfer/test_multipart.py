"""An output on its way: the real service hands out the URLs, and storage is a bucket or the service itself."""

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
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.mp4"
    path.write_bytes(CONTENT)
    return path


def impatient() -> Clock:
    return Clock(sleep=lambda _seconds: None)


async def sent(made: Path, spec: AttemptSpec) -> tuple[list[float], str]:
    target = spec.transfer.output
    assert isinstance(target, RemoteUpload)
    return await asyncio.to_thread(lambda: run_to_end(upload_file(made, target, clock=impatient())))


async def reported(harness: StorageHarness, spec: AttemptSpec) -> httpx.Response:
    run = FakeRun(spec, harness.server.http)
    return await run.report_completed(size=len(CONTENT), checksum=CHECKSUM)


async def test_a_spec_for_elsewhere_is_small_and_holds_no_paths(harness: StorageHarness) -> None:
    spec = await harness.submit_export()
    assert isinstance(spec.transfer.output, RemoteUpload)
    assert isinstance(spec.transfer.sources[harness.source], RemoteObject)
    raw = spec.model_dump_json(by_alias=True)
    assert len(raw) < 4_096
    assert str(harness.settings.data_dir) not in raw
    assert spec.transfer.output.key not in repr(spec.transfer)


async def test_a_source_is_read_under_the_url_in_the_spec(harness: StorageHarness, tmp_path: Path) -> None:
    spec = await harness.submit_export()
    place = await asyncio.to_thread(objects.open_source, harness.source, spec.transfer.sources, tmp_path)
    assert not isinstance(place, str)
    assert await asyncio.to_thread(place.read_at, 1, 3) == b"ide"


async def test_an_output_arrives_whole_and_becomes_the_export(harness: StorageHarness, made: Path) -> None:
    spec = await harness.submit_export()
    shares, checksum = await sent(made, spec)
    assert checksum == CHECKSUM
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert (await reported(harness, spec)).status_code == 200
    got = await harness.server.http.get(f"/api/exports/{spec.job_id}/download", follow_redirects=True)
    assert got.content == CONTENT
    assert f'filename="{spec.job_id}.mp4"' in got.headers["content-disposition"]


async def test_an_output_that_was_sent_can_be_sent_again(harness: StorageHarness, made: Path) -> None:
    spec = await harness.submit_export()
    await sent(made, spec)
    assert (await sent(made, spec))[1] == CHECKSUM


async def test_an_attempt_that_is_over_may_send_nothing(harness: StorageHarness, made: Path) -> None:
    spec = await harness.submit_export()
    assert (await harness.server.http.delete(f"/api/exports/{spec.job_id}")).status_code == 202
    with pytest.raises(Stopped):
        await sent(made, spec)


async def test_a_key_of_another_attempt_opens_nothing(harness: StorageHarness, made: Path) -> None:
    one, other = await harness.submit_export(), await harness.submit_export()
    assert isinstance(one.transfer.output, RemoteUpload)
    assert isinstance(other.transfer.output, RemoteUpload)
    mixed = one.transfer.output.model_copy(update={"key": other.transfer.output.key})
    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(lambda: run_to_end(upload_file(made, mixed, clock=impatient())))
    assert caught.value.code == "output_unwritable"


async def test_a_lie_about_the_size_is_found_out(harness: StorageHarness, made: Path) -> None:
    spec = await harness.submit_export()
    await sent(made, spec)
    run = FakeRun(spec, harness.server.http)
    assert (await run.report_completed(size=len(CONTENT) - 1, checksum=CHECKSUM)).status_code == 200
    job = (await harness.server.http.get(f"/api/exports/{spec.job_id}")).json()
    assert job["status"] != "complete"


async def test_what_was_cut_is_sent_again(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.cut_requests, s3_server.faults.cut_after_bytes = 4, 3_000_000
    s3_server.requests.clear()
    assert (await sent(made, spec))[1] == CHECKSUM
    puts = [path for method, path, _ in s3_server.requests if method == "PUT"]
    assert len(puts) == 3 + 4
    assert (await reported(bucket_harness, spec)).status_code == 200


async def test_a_busy_bucket_is_waited_for(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()

    def busy_between_parts() -> str:
        sending = upload_file(made, target, clock=impatient())
        while True:
            try:
                next(sending)
                s3_server.faults.busy_responses = 1
            except StopIteration as stop:
                return str(stop.value)

    assert await asyncio.to_thread(busy_between_parts) == CHECKSUM


async def test_a_bucket_that_stays_busy_fails_the_attempt_not_the_export(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()

    def cut_off() -> None:
        for share in upload_file(made, target, clock=impatient()):
            if share > http_client.MAX_TRIES / 100:
                s3_server.faults.cut_requests, s3_server.faults.cut_after_bytes = 10_000, 10

    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(cut_off)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_a_part_that_storage_lost_is_sent_again(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.lost_writes = 2
    assert (await sent(made, spec))[1] == CHECKSUM
    assert s3_server.faults.lost_writes == 0


async def test_storage_that_keeps_nothing_fails_the_attempt(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    spec = await bucket_harness.submit_export()
    s3_server.faults.lost_writes = 10_000
    with pytest.raises(ExportError) as caught:
        await sent(made, spec)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_urls_that_have_grown_old_are_replaced(
    s3_server: S3Server, bucket_harness: StorageHarness, made: Path
) -> None:
    _, target = await bucket_harness.submit_with_target()
    sending = upload_file(made, target, clock=impatient())

    def grown_old() -> str:
        shares = []
        while True:
            try:
                shares.append(next(sending))
                if len(shares) == 22:  # the file was read in 21 steps, and the first part is there
                    refuse_once()
            except StopIteration as stop:
                return str(stop.value)

    def refuse_once() -> None:
        s3_server.faults.expired_writes = 1

    assert await asyncio.to_thread(grown_old) == CHECKSUM
    assert s3_server.faults.expired_writes == 0
