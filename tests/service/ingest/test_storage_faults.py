"""A bucket that fails: the right result in the end, or a clear code, and never half a result."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import pytest

from framehook import Client, Export, FramehookError
from framehook.transports.blocking import BlockingTransport
from gpu.transfer.http_client import Clock
from gpu.transfer.multipart import upload_file
from infra.storage.client import Bucket
from tests.gpu.run_pipeline import run_to_end
from tests.service.api.transfers.test_uploads import AUTH_SECRET
from tests.support.fakes import FakeRun
from tests.support.live_server import FRAMING, serve_app
from tests.support.s3_server import S3Faults, S3Server
from tests.support.small_mp4 import make_video
from tests.support.storage_harness import (
    RemoteRunner,
    StorageHarness,
    open_harness,
    settings_with_bucket,
    settings_with_config,
)

pytestmark = pytest.mark.anyio
VIDEO = make_video(bytes(range(256)) * 8_000)  # about 2 MB
CHECKSUM = f"sha256:{hashlib.sha256(VIDEO).hexdigest()}"


@pytest.fixture
async def harness(data_dir: Path, s3_server: S3Server) -> AsyncIterator[StorageHarness]:
    async with open_harness(await settings_with_bucket(s3_server, data_dir)) as harness:
        yield harness


async def start_written_run(harness: StorageHarness, tmp_path: Path) -> FakeRun:
    """Start a run whose output is in storage but not reported yet."""
    spec, target = await harness.submit_with_target()
    path = tmp_path / "made.mp4"
    await asyncio.to_thread(path.write_bytes, VIDEO)
    clock = Clock(sleep=lambda _seconds: None)
    await asyncio.to_thread(lambda: run_to_end(upload_file(path, target, clock=clock)))
    return FakeRun(spec, harness.server.http)


async def complete(harness: StorageHarness, tmp_path: Path) -> dict[str, Any]:
    run = await start_written_run(harness, tmp_path)
    assert (await run.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
    return await get_job(harness, run.spec.job_id)


async def get_job(harness: StorageHarness, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await harness.server.http.get(f"/api/exports/{job_id}")).json()
    return job


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


FAULTS = [
    pytest.param(S3Faults(busy_responses=1_000), "storage_unavailable", id="busy"),
    pytest.param(S3Faults(throttled_responses=1_000), "storage_unavailable", id="throttled"),
    pytest.param(S3Faults(forbidden=True), "storage_misconfigured", id="forbidden"),
]


@pytest.mark.parametrize(("faults", "code"), FAULTS)
async def test_an_output_that_can_not_be_put_into_its_place_now_is_later(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path, faults: S3Faults, code: str
) -> None:
    run = await start_written_run(harness, tmp_path)
    s3_server.faults = faults
    refused = await run.report_completed(size=len(VIDEO), checksum=CHECKSUM)
    assert refused.status_code == 503, code
    job = await get_job(harness, run.spec.job_id)
    assert (job["status"], job["phase"], job["output"]) == ("processing", "finalizing", None)
    s3_server.faults = S3Faults()
    again = await run.report_completed(size=len(VIDEO), checksum=CHECKSUM)
    assert again.status_code == 200
    assert (await get_job(harness, run.spec.job_id))["output"]["checksum"] == CHECKSUM


@pytest.mark.parametrize(("faults", "code"), [FAULTS[0], FAULTS[2]])
async def test_what_is_asked_of_a_bucket_that_fails_is_answered_with_a_code_and_done_afterwards(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path, faults: S3Faults, code: str
) -> None:
    job = await complete(harness, tmp_path)
    config = {"input_key": harness.source, **FRAMING}
    asking = {
        "export": ("POST", "/api/exports", {"type": "framing", "config": config}),
        "upload": (
            "POST",
            "/api/uploads",
            {"filename": "a.mp4", "size": 9, "content_type": "video/mp4", "parts": True},
        ),
        "download": ("GET", f"/api/exports/{job['job_id']}/download", None),
    }
    s3_server.faults = faults
    for method, path, body in asking.values():
        answer = await harness.server.http.request(method, path, json=body)
        assert code_of(answer) == (503, code)
        assert ("retry-after" in answer.headers) == (code == "storage_unavailable")
        assert "Signature" not in answer.text
    s3_server.faults = S3Faults()
    statuses = [
        (await harness.server.http.request(method, path, json=body)).status_code
        for method, path, body in asking.values()
    ]
    assert statuses == [202, 201, 307]


async def test_a_short_storm_is_not_even_noticed(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path
) -> None:
    run = await start_written_run(harness, tmp_path)
    s3_server.faults = S3Faults(busy_responses=2, throttled_responses=1)
    assert (await run.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
    assert (s3_server.faults.busy_responses, s3_server.faults.throttled_responses) == (0, 0)


async def test_a_bucket_that_is_missing_is_told_of_and_nothing_is_complete(
    s3_server: S3Server, data_dir: Path
) -> None:
    settings = settings_with_config(s3_server.client_config(), data_dir)
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    await bucket.create()
    async with open_harness(settings) as harness:
        run = FakeRun(await harness.submit_export(), harness.server.http)
        for stored in await bucket.list_all("list_objects_v2", "Contents"):
            await bucket.call("delete_object", Key=stored["Key"])
        await bucket.call("delete_bucket")
        assert code_of(await run.report_completed(size=len(VIDEO), checksum=CHECKSUM))[0] == 503
        assert (await get_job(harness, run.spec.job_id))["output"] is None
        ready = await harness.server.http.get("/readyz")
        assert (ready.status_code, ready.json()["storage"]) == (503, "failing")
    await bucket.close()


@pytest.mark.parametrize(
    "wrong_report",
    [
        pytest.param({"size": len(VIDEO) - 1, "checksum": CHECKSUM}, id="shorter"),
        pytest.param({"size": len(VIDEO), "checksum": "sha256:" + "0" * 64}, id="of other bytes"),
    ],
)
async def test_what_differs_from_what_was_promised_is_never_complete(
    harness: StorageHarness, tmp_path: Path, wrong_report: dict[str, Any]
) -> None:
    run = await start_written_run(harness, tmp_path)
    assert (await run.report_completed(**wrong_report)).status_code == 200
    job = await get_job(harness, run.spec.job_id)
    assert (job["status"], job["output"]) == ("pending", None)


async def test_a_run_that_has_written_nothing_is_never_complete(harness: StorageHarness) -> None:
    run = FakeRun(await harness.submit_export(), harness.server.http)
    assert (await run.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
    assert (await get_job(harness, run.spec.job_id))["status"] == "pending"


async def test_another_object_under_its_key_is_not_taken_for_the_export_s(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path
) -> None:
    job = await complete(harness, tmp_path)
    bucket = Bucket(s3_server.client_config(harness.settings.r2_bucket_name))
    other = {"sha256": hashlib.sha256(VIDEO[::-1]).hexdigest()}
    await bucket.call("put_object", Key=f"local/{job['output_key']}", Body=VIDEO[::-1], Metadata=other)
    await bucket.close()
    answer = await harness.server.http.get(f"/api/exports/{job['job_id']}/download")
    assert code_of(answer) == (410, "output_replaced")


async def test_a_download_url_expires(s3_server: S3Server, harness: StorageHarness, tmp_path: Path) -> None:
    job = await complete(harness, tmp_path)
    answer = await harness.server.http.get(f"/api/exports/{job['job_id']}/download")
    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    s3_server.faults.clock_ahead_seconds = 3_599
    assert (await harness.server.http.get(answer.headers["location"])).content == VIDEO
    s3_server.faults.clock_ahead_seconds = 3_601
    assert (await harness.server.http.get(answer.headers["location"])).status_code == 403


async def test_a_head_tells_what_a_download_would_bring(harness: StorageHarness, tmp_path: Path) -> None:
    job = await complete(harness, tmp_path)
    url = f"/api/exports/{job['job_id']}/download"
    head = await harness.server.http.head(url)
    got = await harness.server.http.get(url, follow_redirects=True)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "etag", "content-disposition"):
        assert head.headers[name] == got.headers[name]


async def test_what_is_another_user_s_is_not_there(
    s3_server: S3Server, data_dir: Path, tmp_path: Path
) -> None:
    settings = await settings_with_bucket(s3_server, data_dir, auth_jwt_secret=AUTH_SECRET)

    def as_user(name: str) -> dict[str, str]:
        token = jwt.encode({"sub": name, "exp": 4_000_000_000}, AUTH_SECRET, "HS256")
        return {"Authorization": f"Bearer {token}"}

    async with serve_app(settings, RemoteRunner()) as server:
        server.http.headers.update(as_user("ann"))
        upload = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        target = (await server.http.post("/api/uploads", json=upload)).json()
        put = {"Authorization": "", **target["headers"]}
        assert (await server.http.put(target["url"], content=b"video", headers=put)).is_success
        harness = StorageHarness(server, settings, target["key"])
        job = await complete(harness, tmp_path)
        for path in (f"/api/exports/{job['job_id']}", f"/api/exports/{job['job_id']}/download"):
            assert (await server.http.get(path, headers=as_user("bob"))).status_code == 404
        for key in (harness.source, job["output_key"], f"../ann/{harness.source}"):
            body = {"type": "framing", "config": {"input_key": key, **FRAMING}}
            answer = await server.http.post("/api/exports", json=body, headers=as_user("bob"))
            assert answer.status_code == 422


async def download(harness: StorageHarness, job: dict[str, Any], path: Path) -> list[int]:
    """Download the file of an export with the client; return the reported progress in bytes."""
    progress: list[int] = []
    transport = BlockingTransport(sleep=lambda _seconds: None)
    with Client(harness.server.url, transport=transport) as client:
        export = msgspec.convert(job, Export)
        await asyncio.to_thread(
            client.download, export, path, on_progress=lambda done, _total: progress.append(done)
        )
    return progress


async def test_a_download_that_is_cut_goes_on_where_it_was(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path
) -> None:
    job = await complete(harness, tmp_path)
    s3_server.faults = S3Faults(cut_responses=2, cut_after_bytes=700_000)
    s3_server.requests.clear()
    progress = await download(harness, job, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == VIDEO
    assert progress == sorted(progress)
    ranges = [headers.get("range") for method, _, headers in s3_server.requests if method == "GET"]
    assert ranges == [None, "bytes=700000-", "bytes=1400000-"]


async def test_a_download_that_is_cut_each_time_leaves_nothing(
    s3_server: S3Server, harness: StorageHarness, tmp_path: Path
) -> None:
    job = await complete(harness, tmp_path)
    s3_server.faults = S3Faults(cut_responses=1_000, cut_after_bytes=0)
    target = tmp_path / "fetched" / "out.mp4"
    target.parent.mkdir()
    with pytest.raises(FramehookError, match="the connection broke"):
        await download(harness, job, target)
    assert [*target.parent.iterdir()] == []
