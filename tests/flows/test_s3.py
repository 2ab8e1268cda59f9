"""Upload, export in a real process without access to the service's files, and download."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpu.sources.source import probe
from infra.storage.client import Bucket
from service.app import create_app
from service.dispatch.runners import LocalRunner
from service.http_server.server import create_server as web_server
from service.settings import Settings
from tests.support.fakes import ThreadProber
from tests.support.live_server import free_port, settings_on
from tests.support.s3_server import S3Faults, S3Server
from tests.support.storage_harness import settings_with_bucket, settings_with_config
from tests.support.videos import Video, clicks, dot, frame_times, write_video

pytestmark = pytest.mark.anyio
FRAMING = {
    "quality": "draft",
    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": 160, "height": 90}],
    "output_width": 160,
}


class RemoteLikeRunner(LocalRunner):
    """Runs processes of this machine as if they were on another one."""

    shares_filesystem = False


@dataclass
class ExportClient:
    """A client of the running service."""

    http: httpx.AsyncClient

    async def upload(self, video: Path) -> str:
        """Upload a video and return its key."""
        content = await asyncio.to_thread(video.read_bytes)
        body = {"filename": video.name, "size": len(content), "content_type": "video/mp4"}
        target = (await self.http.post("/api/uploads", json=body)).json()
        answer = await self.http.put(target["url"], content=content, headers=target["headers"])
        assert answer.is_success
        return str(target["key"])

    async def run_export(self, config: dict[str, Any], kind: str = "framing") -> dict[str, Any]:
        """Run an export and return the finished job."""
        answer = await self.http.post("/api/exports", json={"type": kind, "config": config})
        assert answer.status_code == 202, answer.text
        url = f"/api/exports/{answer.json()['job_id']}"
        async with asyncio.timeout(60), self.http.stream("GET", f"{url}/events") as events:
            async for _line in events.aiter_lines():
                pass
        job: dict[str, Any] = (await self.http.get(url)).json()
        return job

    async def download(self, job: dict[str, Any], path: Path) -> Path:
        answer = await self.http.get(f"/api/exports/{job['job_id']}/download", follow_redirects=True)
        assert answer.status_code == 200
        await asyncio.to_thread(path.write_bytes, answer.content)
        return path


@asynccontextmanager
async def serve(settings: Settings, runner: LocalRunner) -> AsyncIterator[ExportClient]:
    listening = socket.create_server((settings.host, settings.port))
    running = web_server(
        create_app(settings, runner, source_prober=ThreadProber()), settings.host, settings.port
    )
    task = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        async with httpx.AsyncClient(base_url=settings.origin, timeout=30, trust_env=False) as http:
            yield ExportClient(http)
    finally:
        running.should_exit = True
        await task


def create_runner(settings: Settings, kind: type[LocalRunner] = LocalRunner) -> LocalRunner:
    return kind(settings.data_dir / "scratch", 2)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    moving = Video(draw=lambda time: dot(50 + 60 * time, 90), times=frame_times(2), tone=clicks(2, 1.0))
    return write_video(tmp_path / "Spiel 1.mp4", moving)


async def objects(s3_server: S3Server, settings: Settings) -> list[str]:
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    target = await bucket.list_all("list_objects_v2", "Contents")
    await bucket.close()
    return sorted(entry["Key"] for entry in target)


async def test_an_export_goes_from_bucket_to_bucket(
    s3_server: S3Server, data_dir: Path, video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = await settings_with_bucket(s3_server, data_dir)
    with caplog.at_level(logging.INFO, "framehook"):
        async with serve(settings, create_runner(settings)) as client:
            key = await client.upload(video)
            job = await client.run_export({"input_key": key, **FRAMING})
            assert (job["status"], job["error"]) == ("complete", None)
            assert probe(str(await client.download(job, tmp_path / "out.mp4"))).width == 160
            assert (tmp_path / "out.mp4").stat().st_size == job["output"]["size"]
    assert await objects(s3_server, settings) == sorted([f"local/{key}", f"local/{job['output_key']}"])
    assert not list((data_dir / "scratch").glob("*/*"))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("framehook")]
    assert ours
    assert not [line for line in ours if "Signature" in line or "token=" in line]


async def test_an_export_without_a_bucket_goes_through_the_service(
    data_dir: Path, video: Path, tmp_path: Path
) -> None:
    settings = settings_on(free_port(), data_dir)
    async with serve(settings, create_runner(settings, RemoteLikeRunner)) as client:
        key = await client.upload(video)
        job = await client.run_export({"input_key": key, **FRAMING})
        assert (job["status"], job["error"]) == ("complete", None)
        assert probe(str(await client.download(job, tmp_path / "out.mp4"))).width == 160
    assert not list((data_dir / "incoming").iterdir())


async def test_an_export_survives_cut_connections_and_a_busy_bucket(
    s3_server: S3Server, data_dir: Path, video: Path, tmp_path: Path
) -> None:
    settings = await settings_with_bucket(s3_server, data_dir)
    async with serve(settings, create_runner(settings)) as client:
        key = await client.upload(video)
        s3_server.faults = S3Faults(cut_responses=2, cut_requests=1, cut_after_bytes=2_000, busy_responses=1)
        job = await client.run_export({"input_key": key, **FRAMING})
        assert (job["status"], job["error"], job["attempt"]) == ("complete", None, 1)
        assert (
            s3_server.faults.cut_responses,
            s3_server.faults.cut_requests,
            s3_server.faults.busy_responses,
        ) == (0, 0, 0)
        assert probe(str(await client.download(job, tmp_path / "out.mp4"))).width == 160


async def test_a_source_that_is_no_video_fails_with_its_reason(
    s3_server: S3Server, data_dir: Path, tmp_path: Path
) -> None:
    settings = await settings_with_bucket(s3_server, data_dir)
    text = tmp_path / "a.mp4"
    text.write_bytes(b"this is no video" * 1_000)
    async with serve(settings, create_runner(settings)) as client:
        job = await client.run_export({"input_key": await client.upload(text), **FRAMING})
    assert (job["status"], job["error"]["code"]) == ("error", "source_unreadable")


async def test_a_download_goes_to_the_bucket_under_the_name_of_the_file(
    s3_server: S3Server, data_dir: Path, video: Path
) -> None:
    settings = await settings_with_bucket(s3_server, data_dir)
    async with serve(settings, create_runner(settings)) as client:
        key = await client.upload(video)
        job = await client.run_export({"input_key": key, "output_key": "exports/Tor 1 ü.mp4", **FRAMING})
        answer = await client.http.get(f"/api/exports/{job['job_id']}/download")
        assert answer.status_code == 307
        assert answer.headers["location"].startswith(s3_server.url)
        part = await client.http.get(answer.headers["location"], headers={"Range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        assert "Tor%201%20%C3%BC.mp4" in part.headers["content-disposition"]


async def test_a_bucket_that_is_missing_shows_on_readyz_and_nothing_is_lost(
    s3_server: S3Server, data_dir: Path, video: Path
) -> None:
    settings = settings_with_config(s3_server.client_config(), data_dir)
    async with serve(settings, create_runner(settings)) as client:
        ready = await client.http.get("/readyz")
        assert (ready.status_code, ready.json()["storage"]) == (503, "failing")
        bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
        await bucket.create()
        await bucket.close()
        assert (await client.http.get("/readyz")).status_code == 200
        job = await client.run_export({"input_key": await client.upload(video), **FRAMING})
        assert job["status"] == "complete"
