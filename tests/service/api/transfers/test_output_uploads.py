"""A run's requests about its output are verified before an upload starts."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes import FakeRun
from tests.support.s3_server import S3Server, run_s3_server
from tests.support.storage_harness import StorageHarness, open_harness, settings_for_storage

pytestmark = pytest.mark.anyio
CHECKSUM = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with run_s3_server() as s3_server:
        yield s3_server


@pytest.fixture(params=["folder", "s3"])
async def harness(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[StorageHarness]:
    async with open_harness(await settings_for_storage(request.param, s3_server, data_dir)) as harness:
        yield harness


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: b"", id="nothing"),
        pytest.param(lambda _: b"{}", id="no fields"),
        pytest.param(lambda body: body.replace(b'"size":', b'"size":-'), id="a negative size"),
        pytest.param(lambda body: body[:-1] + b',"more":1}', id="a field too many"),
        pytest.param(lambda body: b"\xff" + body, id="no text"),
        pytest.param(lambda _: b"[" * 10_000, id="deep nesting"),
    ],
)
async def test_an_invalid_request_is_rejected(
    harness: StorageHarness, change: Callable[[bytes], bytes]
) -> None:
    spec = await harness.submit_export()
    run = FakeRun(spec, harness.server.http)
    body = change(b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode())
    answer = await harness.server.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
    assert answer.status_code == 422


@pytest.mark.parametrize("age_seconds", [600, -600])
async def test_an_old_or_unsigned_request_is_rejected(harness: StorageHarness, age_seconds: int) -> None:
    spec = await harness.submit_export()
    run = FakeRun(spec, harness.server.http)
    body = b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode()
    post = harness.server.http.post
    stale = run.sign(body, age_seconds=age_seconds)
    assert (await post(f"{run.url}/output", content=body, headers=stale)).status_code == 401
    assert (await post(f"{run.url}/output", content=body)).status_code == 401


async def test_an_output_larger_than_its_export_can_need_is_rejected(harness: StorageHarness) -> None:
    spec = await harness.submit_export()
    run = FakeRun(spec, harness.server.http)
    for size, status in ((5 * 2**40, 413), (17 * 2**30, 413), (15 * 2**30, 200)):
        body = b'{"attempt":1,"size":%d,"checksum":"%b"}' % (size, CHECKSUM.encode())
        answer = await harness.server.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
        assert answer.status_code == status, answer.text
        if status == 200:  # going on with a larger one is no way around it
            begun = answer.json()["upload_id"]
            body = body.replace(b'"size":', b'"upload_id":"%b","size":9' % begun.encode())
            headers = run.sign(body)
            more = await harness.server.http.post(f"{run.url}/output", content=body, headers=headers)
            assert more.status_code == 413


async def test_an_attempt_has_one_upload_at_a_time(harness: StorageHarness) -> None:
    spec = await harness.submit_export()
    run = FakeRun(spec, harness.server.http)
    body = b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode()

    async def ask(body: bytes) -> httpx.Response:
        return await harness.server.http.post(f"{run.url}/output", content=body, headers=run.sign(body))

    first, second = [(await ask(body)).json()["upload_id"] for _ in range(2)]
    statuses = [
        (await ask(body[:-1] + b',"upload_id":"%b"}' % upload_id.encode())).status_code
        for upload_id in (first, second)
    ]
    assert statuses == [409, 200]


async def test_an_unknown_upload_is_a_conflict(harness: StorageHarness) -> None:
    spec = await harness.submit_export()
    run = FakeRun(spec, harness.server.http)
    for more in (b"", b',"complete":true'):
        body = b'{"attempt":1,"size":5,"upload_id":"0123","checksum":"%b"%b}' % (CHECKSUM.encode(), more)
        answer = await harness.server.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
        assert answer.status_code == 409
