"""A disk that fills up: uploads are rejected before it is full, exports wait or end, and each says why."""

import asyncio
import base64
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from callbacks.envelope import EventType
from gpu.spec import AttemptSpec, CallbackTarget
from infra.storage.disk_reserve import DiskReserve
from service.dispatch.runners import LocalRunner, RunnerRefused
from tests.callbacks.scripted_server import KEY, receiver
from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on
from tests.support.videos import Video, dot, frame_times, write_video

pytestmark = pytest.mark.anyio
MIB = 2**20


async def announce_upload(http: httpx.AsyncClient, size: int, *, parts: bool) -> httpx.Response:
    body = {"filename": "a.mp4", "size": size, "content_type": "video/mp4", "parts": parts}
    return await http.post("/api/uploads", json=body)


async def test_six_uploads_at_once_together_get_no_more_than_there_is(data_dir: Path) -> None:
    size = shutil.disk_usage(data_dir).free * 4 // 10
    async with serve_app(settings_on(free_port(), data_dir, max_upload_bytes=2**50), FakeRunner()) as server:
        answers = await asyncio.gather(*(announce_upload(server.http, size, parts=True) for _ in range(6)))
        taken = [answer for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code == 507]
        assert (len(taken), len(refused)) == (2, 4)
        problem = refused[0].json()
        assert problem["type"] == "urn:framehook:problem:disk_full"
        assert problem["detail"].startswith("The service's disk is too full for this file; delete files")
        assert (await announce_upload(server.http, size, parts=False)).status_code == 507
        assert (await server.http.delete(taken[0].headers["location"])).status_code == 204
        assert (await announce_upload(server.http, size, parts=True)).status_code == 201


@pytest.fixture
def spec(tmp_path: Path) -> AttemptSpec:
    source = write_video(tmp_path / "source.mp4", Video(draw=lambda _: dot(160, 90), times=frame_times(1)))
    return attempt_spec(
        source, tmp_path / "output.mp4", keyframes=STILL, output_width=4096, quality="high", fps=240
    )


@pytest.mark.parametrize("full", ["incoming", "scratch"])
async def test_an_export_waits_for_room_on_both_disks_and_uses_up_no_attempt(
    tmp_path: Path, spec: AttemptSpec, full: str
) -> None:
    reserve = DiskReserve(
        tmp_path / "incoming", free_bytes=lambda folder: 255 * MIB if folder.name == full else 2**40
    )
    runner = LocalRunner(tmp_path / "scratch", 1, reserve=reserve)
    spec = spec.model_copy(update={"call_id": runner.call_id_for("job", 1)})
    with pytest.raises(RunnerRefused) as refused:
        await runner.spawn(spec)
    assert (refused.value.code, refused.value.transient, refused.value.counted) == ("disk_full", True, False)
    assert list_of(tmp_path / "scratch") == list_of(tmp_path / "incoming") == []


async def test_a_run_keeps_its_room_until_it_ends(tmp_path: Path, spec: AttemptSpec) -> None:
    with receiver() as service:
        reserve = DiskReserve(tmp_path / "incoming")
        runner = LocalRunner(tmp_path / "scratch", 1, reserve=reserve)
        target = CallbackTarget(url=service.url, key=base64.b64encode(KEY).decode())
        spec = spec.model_copy(update={"call_id": runner.call_id_for("job", 1), "callback": target})
        await runner.spawn(spec)
        reserve.remove_stale_files(60)
        (held,) = list_of(tmp_path / "incoming")
        assert held.endswith(f"-{(tmp_path / 'source.mp4').stat().st_size}.part")
        await runner.close()
        assert list_of(tmp_path / "incoming") == []


async def test_a_run_ends_before_the_disk_is_full(tmp_path: Path, spec: AttemptSpec) -> None:
    with receiver() as service:
        target = CallbackTarget(url=service.url, key=base64.b64encode(KEY).decode())
        words = ("--scratch", str(tmp_path), "--keep-free-bytes", str(2**60))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gpu.worker", *words), stdin=asyncio.subprocess.PIPE
        )
        await process.communicate(spec.model_copy(update={"callback": target}).model_dump_json().encode())
        assert process.returncode == 124
        reports = [await asyncio.to_thread(service.take)]
        while reports[-1].callback.type is not EventType.FAILED:
            reports.append(await asyncio.to_thread(service.take))
    failure = reports[-1].callback.data.error
    assert failure is not None
    assert (failure.code, failure.transient) == ("disk_full", True)
    assert list_of(tmp_path) == ["source.mp4"]


def list_of(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
