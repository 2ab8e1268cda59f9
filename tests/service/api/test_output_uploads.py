"""What an attempt asks about its output is verified before anything is begun for it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes import FakeRun
from tests.support.s3_server import Front, s3_server
from tests.support.storage_harness import Town, settings_of
from tests.support.storage_harness import town as opened

pytestmark = pytest.mark.anyio
CHECKSUM = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def front() -> Iterator[Front]:
    with s3_server() as front:
        yield front


@pytest.fixture(params=["folder", "s3"])
async def town(request: pytest.FixtureRequest, data_dir: Path, front: Front) -> AsyncIterator[Town]:
    async with opened(await settings_of(request.param, front, data_dir)) as town:
        yield town


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
async def test_what_is_no_question_is_refused(town: Town, change: Callable[[bytes], bytes]) -> None:
    spec = await town.spec()
    run = FakeRun(spec, town.street.http)
    body = change(b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode())
    answer = await town.street.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
    assert answer.status_code == 422


@pytest.mark.parametrize("age_seconds", [600, -600])
async def test_an_old_or_unsigned_question_is_refused(town: Town, age_seconds: int) -> None:
    spec = await town.spec()
    run = FakeRun(spec, town.street.http)
    body = b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode()
    post = town.street.http.post
    stale = run.sign(body, age_seconds=age_seconds)
    assert (await post(f"{run.url}/output", content=body, headers=stale)).status_code == 401
    assert (await post(f"{run.url}/output", content=body)).status_code == 401


async def test_an_output_is_no_larger_than_its_export_can_need(town: Town) -> None:
    spec = await town.spec()
    run = FakeRun(spec, town.street.http)
    for size, status in ((5 * 2**40, 413), (17 * 2**30, 413), (15 * 2**30, 200)):
        body = b'{"attempt":1,"size":%d,"checksum":"%b"}' % (size, CHECKSUM.encode())
        answer = await town.street.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
        assert answer.status_code == status, answer.text
        if status == 200:  # going on with a larger one is no way around it
            begun = answer.json()["upload_id"]
            body = body.replace(b'"size":', b'"upload_id":"%b","size":9' % begun.encode())
            headers = run.sign(body)
            more = await town.street.http.post(f"{run.url}/output", content=body, headers=headers)
            assert more.status_code == 413


async def test_an_attempt_has_one_upload_at_a_time(town: Town) -> None:
    spec = await town.spec()
    run = FakeRun(spec, town.street.http)
    body = b'{"attempt":1,"size":5,"checksum":"%b"}' % CHECKSUM.encode()

    async def ask(body: bytes) -> httpx.Response:
        return await town.street.http.post(f"{run.url}/output", content=body, headers=run.sign(body))

    first, second = [(await ask(body)).json()["upload_id"] for _ in range(2)]
    statuses = [
        (await ask(body[:-1] + b',"upload_id":"%b"}' % upload_id.encode())).status_code
        for upload_id in (first, second)
    ]
    assert statuses == [409, 200]


async def test_an_upload_that_nobody_knows_is_a_conflict(town: Town) -> None:
    spec = await town.spec()
    run = FakeRun(spec, town.street.http)
    for more in (b"", b',"complete":true'):
        body = b'{"attempt":1,"size":5,"upload_id":"0123","checksum":"%b"%b}' % (CHECKSUM.encode(), more)
        answer = await town.street.http.post(f"{run.url}/output", content=body, headers=run.sign(body))
        assert answer.status_code == 409
