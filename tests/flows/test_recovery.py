"""An export ends correctly and once, whichever process is killed: real processes, real video."""

import asyncio
import io
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest

from service import sample_video
from tests.support.service_process import CROP, Job, ServiceProcess, wait_until
from tests.support.workers.processes import find_group_processes, find_runs

FINAL = ("complete", "error", "cancelled")


@pytest.fixture(scope="session")
def match(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten seconds of video, long enough to be interrupted while it is encoded."""
    path = tmp_path_factory.mktemp("match") / "match.mp4"
    sample_video.write_video(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    """One for all tests that let it live."""
    async with ServiceProcess(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """Run a service that tests kill; an export has two attempts, and interruptions do not count."""
    async with ServiceProcess(tmp_path / "service", {"ATTEMPT_LIMIT": "2"}) as service:
        yield service


async def framing(service: ServiceProcess, match: bytes, **config: object) -> str:
    """Submit a framing export that takes some seconds."""
    key = await service.upload(match)
    usual = {"input_key": key, "keyframes": [CROP], "trim": {"start": 0, "end": 5}, "quality": "high"}
    return await service.submit_export(usual | config)


async def check_whole(service: ServiceProcess, job: Job) -> None:
    """Check that the job is complete, its file is the requested video, and it ended once."""
    assert job["status"] == "complete", job
    assert job["progress"] == 100
    answer = await service.http.get(f"/api/exports/{job['job_id']}/download")
    assert len(answer.content) == job["output"]["size"]
    with av.open(io.BytesIO(answer.content), "r") as container:
        frames = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert frames == [(1080, 1080)] * 150
    await check_single_end(service, job["job_id"])


async def check_single_end(service: ServiceProcess, job_id: str) -> None:
    events = await service.get_timeline(job_id)
    sequences = [event["sequence"] for event in events]
    assert sequences == sorted(set(sequences))
    ends = Counter(event["attempt"] for event in events if event["status"] in FINAL)
    assert sum(ends.values()) == 1


async def test_a_run_that_is_killed_is_tried_again_and_completes(
    service: ServiceProcess, match: bytes
) -> None:
    job_id = await framing(service, match)
    before = await service.wait_until_encoding(job_id)
    (run,) = find_runs(job_id)
    os.kill(run, signal.SIGKILL)
    second = await service.wait_for_export(job_id, lambda job: job["attempt"] == 2)
    assert second["sequence"] > before["sequence"]
    assert second["gpu_seconds"] >= before["gpu_seconds"] > 0
    job = await service.wait_until_ended(job_id)
    assert job["attempt"] == 2
    assert job["gpu_seconds"] > second["gpu_seconds"]
    await check_whole(service, job)
    await wait_until(lambda: service.scratch == [], service)
    attempts = (service.folder / "var" / "objects").rglob(".attempts/*")
    assert list(attempts) == []


async def test_a_service_that_is_killed_goes_on_at_its_next_start(
    mortal: ServiceProcess, match: bytes
) -> None:
    job_id = await framing(mortal, match)
    before = await mortal.wait_until_encoding(job_id)
    (zombie,) = find_runs(job_id)
    mortal.stop(signal.SIGKILL)
    await mortal.start()
    again = await mortal.wait_for_export(job_id, lambda job: job["attempt"] == 2)
    assert again["sequence"] > before["sequence"]
    await wait_until(lambda: zombie not in find_runs(job_id), mortal)
    await check_whole(mortal, await mortal.wait_until_ended(job_id))
    await wait_until(lambda: mortal.scratch == [], mortal)


async def test_a_run_and_its_pieces_end_with_a_service_that_is_killed(
    mortal: ServiceProcess, match: bytes
) -> None:
    job_id = await framing(mortal, match, parallelism=2)
    await mortal.wait_until_encoding(job_id)
    (run,) = find_runs(job_id)
    assert len(find_group_processes(run)) > 2
    mortal.stop(signal.SIGKILL)
    await wait_until(lambda: find_group_processes(run) == [], mortal)
    await wait_until(lambda: mortal.scratch == [], mortal)


async def test_shutdowns_within_an_export_cost_it_nothing(mortal: ServiceProcess, match: bytes) -> None:
    job_id = await framing(mortal, match)
    for attempt in (1, 2):
        before = await mortal.wait_until_encoding(job_id, attempt)
        (run,) = find_runs(job_id)
        assert mortal.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
        assert run not in find_runs(job_id)
        assert mortal.scratch == []
        await mortal.start()
        assert (await mortal.get_export(job_id))["sequence"] > before["sequence"]
    job = await mortal.wait_until_ended(job_id)
    assert job["attempt"] == 3
    await check_whole(mortal, job)


async def test_a_cancel_ends_the_run_and_leaves_nothing_and_a_retry_completes(
    service: ServiceProcess, match: bytes
) -> None:
    job_id = await framing(service, match)
    await service.wait_until_encoding(job_id)
    (run,) = find_runs(job_id)
    answer = await service.http.delete(f"/api/exports/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    await wait_until(lambda: run not in find_runs(job_id), service)
    await wait_until(lambda: service.scratch == [], service)
    left = (service.folder / "var" / "objects").rglob(f"*{job_id}*")
    assert list(left) == []
    assert (await service.get_export(job_id)) == answer.json()
    await check_single_end(service, job_id)
    assert (await service.http.post(f"/api/exports/{job_id}/retry")).status_code == 202
    job = await service.wait_until_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 2)


async def test_progress_never_falls_within_an_attempt_and_100_is_the_end_alone(
    service: ServiceProcess, match: bytes
) -> None:
    job_id = await framing(service, match)
    seen: list[Job] = []

    async def look() -> bool:
        seen.append(await service.get_export(job_id))
        return seen[-1]["status"] in FINAL

    await wait_until(look, service)
    assert [job["progress"] for job in seen] == sorted(job["progress"] for job in seen)
    assert [job["sequence"] for job in seen] == sorted(job["sequence"] for job in seen)
    assert len({job["progress"] for job in seen}) > 5
    assert all((job["progress"] == 100) == (job["status"] == "complete") for job in seen)
    phases = [event["phase"] for event in await service.get_timeline(job_id)]
    order = ["queued", "starting", "downloading", "processing", "uploading", "finalizing", "done"]
    assert [order.index(phase) for phase in phases] == sorted(order.index(phase) for phase in phases)


def text(_match: bytes) -> bytes:
    return b"This is no video, despite its name.\n" * 100


def cut(match: bytes) -> bytes:
    return match[: len(match) // 3]


def nothing_but_zeros(_match: bytes) -> bytes:
    return bytes(100_000)


def whole(match: bytes) -> bytes:
    return match


@pytest.mark.parametrize(
    ("damage", "config"),
    [
        pytest.param(text, {}, id="a text that is called a video"),
        pytest.param(cut, {}, id="a truncated video"),
        pytest.param(nothing_but_zeros, {}, id="zeros"),
        pytest.param(whole, {"trim": {"start": 60, "end": 70}}, id="a trim beyond the end"),
        pytest.param(whole, {"keyframes": [{**CROP, "x": 9_000, "y": 9_000}]}, id="a crop beyond the frame"),
    ],
)
async def test_bad_input_ends_in_an_error_that_says_why(
    service: ServiceProcess, match: bytes, damage: object, config: Job
) -> None:
    assert callable(damage)
    key = await service.upload(damage(match))
    job_id = await service.submit_export(
        {"input_key": key, "keyframes": [CROP], "quality": "draft", **config}
    )
    job = await service.wait_until_ended(job_id)
    assert (job["status"], job["attempt"], job["output"]) == ("error", 1, None)
    error = job["error"]
    assert error["code"].isidentifier()
    assert error["message"].endswith(".")
    assert str(service.folder) not in error["message"]
    assert "Traceback" not in error["message"]
    assert (await service.http.get(f"/api/exports/{job_id}/download")).status_code == 409


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"input_key": "uploads/none.mp4", "keyframes": [CROP]}, id="a missing file"),
        pytest.param({"keyframes": [{**CROP, "width": 0}]}, id="a crop of no width"),
        pytest.param({"keyframes": [CROP], "zoom": 2}, id="an unknown field"),
        pytest.param({"keyframes": [CROP], "trim": {"start": 2, "end": 2}}, id="a trim of no length"),
    ],
)
async def test_what_is_wrong_on_its_face_is_refused_at_once(
    service: ServiceProcess, match: bytes, config: Job
) -> None:
    key = await service.upload(match)
    body = {"type": "framing", "config": {"input_key": key} | config}
    answer = await service.http.post("/api/exports", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_more_exports_than_places_all_complete(service: ServiceProcess, match: bytes) -> None:
    key = await service.upload(match)
    config = {"input_key": key, "keyframes": [CROP], "quality": "draft", "trim": {"start": 0, "end": 0.5}}
    ids = await asyncio.gather(*(service.submit_export(config) for _ in range(6)))
    jobs = await asyncio.gather(*(service.wait_until_ended(job_id) for job_id in ids))
    assert [(job["status"], job["attempt"]) for job in jobs] == [("complete", 1)] * 6
    assert [line for line in service.log.splitlines() if " ERROR " in line] == []
