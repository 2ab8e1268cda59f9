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
from gpu.transfer.multipart import upload
from tests.gpu.run_pipeline import run_to_end
from tests.support.fakes import FakeRun
from tests.support.s3_server import Front
from tests.support.small_mp4 import video_with
from tests.support.storage_harness import Town, settings_of, with_bucket
from tests.support.storage_harness import town as opened

pytestmark = pytest.mark.anyio
CONTENT = video_with(random.Random(3).randbytes(20 * 2**20))  # noqa: S311 - three parts, the same bytes each time
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(params=["folder", "s3"])
async def town(request: pytest.FixtureRequest, data_dir: Path, front: Front) -> AsyncIterator[Town]:
    async with opened(await settings_of(request.param, front, data_dir)) as town:
        yield town


@pytest.fixture
async def bucket_town(data_dir: Path, front: Front) -> AsyncIterator[Town]:
    async with opened(await with_bucket(front, data_dir)) as town:
        yield town


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.mp4"
    path.write_bytes(CONTENT)
    return path


def impatient() -> Clock:
    return Clock(pause=lambda _seconds: None)


async def sent(made: Path, spec: AttemptSpec) -> tuple[list[float], str]:
    target = spec.transfer.output
    assert isinstance(target, RemoteUpload)
    return await asyncio.to_thread(lambda: run_to_end(upload(made, target, clock=impatient())))


async def reported(town: Town, spec: AttemptSpec) -> httpx.Response:
    run = FakeRun(spec, town.street.http)
    return await run.report_completed(size=len(CONTENT), checksum=CHECKSUM)


async def test_a_spec_for_elsewhere_is_small_and_holds_no_paths(town: Town) -> None:
    spec = await town.spec()
    assert isinstance(spec.transfer.output, RemoteUpload)
    assert isinstance(spec.transfer.sources[town.source], RemoteObject)
    raw = spec.model_dump_json(by_alias=True)
    assert len(raw) < 4_096
    assert str(town.settings.data_dir) not in raw
    assert spec.transfer.output.key not in repr(spec.transfer)


async def test_a_source_is_read_under_the_url_in_the_spec(town: Town, tmp_path: Path) -> None:
    spec = await town.spec()
    place = await asyncio.to_thread(objects.fetch, town.source, spec.transfer.sources, tmp_path)
    assert not isinstance(place, str)
    assert await asyncio.to_thread(place.read_at, 1, 3) == b"ide"


async def test_an_output_arrives_whole_and_becomes_the_export(town: Town, made: Path) -> None:
    spec = await town.spec()
    shares, checksum = await sent(made, spec)
    assert checksum == CHECKSUM
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
    assert (await reported(town, spec)).status_code == 200
    got = await town.street.http.get(f"/api/exports/{spec.job_id}/download", follow_redirects=True)
    assert got.content == CONTENT
    assert f'filename="{spec.job_id}.mp4"' in got.headers["content-disposition"]


async def test_an_output_that_was_sent_can_be_sent_again(town: Town, made: Path) -> None:
    spec = await town.spec()
    await sent(made, spec)
    assert (await sent(made, spec))[1] == CHECKSUM


async def test_an_attempt_that_is_over_may_send_nothing(town: Town, made: Path) -> None:
    spec = await town.spec()
    assert (await town.street.http.delete(f"/api/exports/{spec.job_id}")).status_code == 202
    with pytest.raises(Stopped):
        await sent(made, spec)


async def test_a_key_of_another_attempt_opens_nothing(town: Town, made: Path) -> None:
    one, other = await town.spec(), await town.spec()
    assert isinstance(one.transfer.output, RemoteUpload)
    assert isinstance(other.transfer.output, RemoteUpload)
    mixed = one.transfer.output.model_copy(update={"key": other.transfer.output.key})
    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(lambda: run_to_end(upload(made, mixed, clock=impatient())))
    assert caught.value.code == "output_unwritable"


async def test_a_lie_about_the_size_is_found_out(town: Town, made: Path) -> None:
    spec = await town.spec()
    await sent(made, spec)
    run = FakeRun(spec, town.street.http)
    assert (await run.report_completed(size=len(CONTENT) - 1, checksum=CHECKSUM)).status_code == 200
    job = (await town.street.http.get(f"/api/exports/{spec.job_id}")).json()
    assert job["status"] != "complete"


async def test_what_was_cut_is_sent_again(front: Front, bucket_town: Town, made: Path) -> None:
    spec = await bucket_town.spec()
    front.faults.cut_bodies, front.faults.cut_after_bytes = 4, 3_000_000
    front.seen.clear()
    assert (await sent(made, spec))[1] == CHECKSUM
    puts = [path for method, path, _ in front.seen if method == "PUT"]
    assert len(puts) == 3 + 4
    assert (await reported(bucket_town, spec)).status_code == 200


async def test_a_busy_bucket_is_waited_for(front: Front, bucket_town: Town, made: Path) -> None:
    _, target = await bucket_town.target()

    def busy_between_parts() -> str:
        sending = upload(made, target, clock=impatient())
        while True:
            try:
                next(sending)
                front.faults.busy = 1
            except StopIteration as stop:
                return str(stop.value)

    assert await asyncio.to_thread(busy_between_parts) == CHECKSUM


async def test_a_bucket_that_stays_busy_fails_the_attempt_not_the_export(
    front: Front, bucket_town: Town, made: Path
) -> None:
    _, target = await bucket_town.target()

    def cut_off() -> None:
        for share in upload(made, target, clock=impatient()):
            if share > http_client.TRIES / 100:
                front.faults.cut_bodies, front.faults.cut_after_bytes = 10_000, 10

    with pytest.raises(ExportError) as caught:
        await asyncio.to_thread(cut_off)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_a_part_that_storage_lost_is_sent_again(front: Front, bucket_town: Town, made: Path) -> None:
    spec = await bucket_town.spec()
    front.faults.lost = 2
    assert (await sent(made, spec))[1] == CHECKSUM
    assert front.faults.lost == 0


async def test_storage_that_keeps_nothing_fails_the_attempt(
    front: Front, bucket_town: Town, made: Path
) -> None:
    spec = await bucket_town.spec()
    front.faults.lost = 10_000
    with pytest.raises(ExportError) as caught:
        await sent(made, spec)
    assert (caught.value.code, caught.value.transient) == ("output_unwritable", True)


async def test_urls_that_have_grown_old_are_replaced(front: Front, bucket_town: Town, made: Path) -> None:
    _, target = await bucket_town.target()
    sending = upload(made, target, clock=impatient())

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
        front.faults.expired = 1

    assert await asyncio.to_thread(grown_old) == CHECKSUM
    assert front.faults.expired == 0
