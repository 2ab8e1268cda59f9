"""Exports complete though the fork server dies, and no process outlives the service for long."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service import sample_video
from tests.support.service_process import CROP, ServiceProcess, wait_until
from tests.support.workers.processes import find_parent, find_runs, is_alive, read_environment

SECRETS = {"CALLBACK_SECRET": "hunter2 " * 8, "AUTH_AUDIENCE": "hunter2"}


@pytest.fixture(scope="module")
def match(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("match") / "match.mp4"
    sample_video.write_video(path)
    return path.read_bytes()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    async with ServiceProcess(tmp_path / "service", {"ATTEMPT_LIMIT": "1", **SECRETS}) as service:
        yield service


async def start_forked_export(service: ServiceProcess, key: str) -> tuple[str, int, int]:
    """Start an export whose run is forked; once it is being encoded, return it, its run and the fork server."""
    assert service.process is not None
    while True:
        job_id = await submit(service, key)
        await service.wait_until_encoding(job_id)
        [run] = find_runs(job_id)
        if (parent := find_parent(run)) != service.process.pid:
            return job_id, run, parent
        # It was started before the fork server was ready.
        await service.http.delete(f"/api/exports/{job_id}")


async def submit(service: ServiceProcess, key: str) -> str:
    config = {"input_key": key, "keyframes": [CROP], "trim": {"start": 0, "end": 5}, "quality": "high"}
    return await service.submit_export(config)


async def test_exports_complete_though_the_fork_server_is_killed(
    service: ServiceProcess, match: bytes
) -> None:
    key = await service.upload(match)
    job_id, run, fork_server = await start_forked_export(service, key)
    assert not any(b"hunter2" in read_environment(pid) for pid in (run, fork_server))
    os.kill(fork_server, signal.SIGKILL)
    next_id = await submit(service, key)
    jobs = [await service.wait_until_ended(each) for each in (job_id, next_id)]
    assert [job["status"] for job in jobs] == ["complete"] * 2
    assert jobs[0]["attempt"] == 1
    assert service.log.count("the fork server ended: exit status -9") == 1
    await wait_until(lambda: service.scratch == [], service)


async def test_no_process_outlives_a_service_that_is_killed(service: ServiceProcess, match: bytes) -> None:
    _, run, fork_server = await start_forked_export(service, await service.upload(match))
    service.stop(signal.SIGKILL)
    await wait_until(lambda: not (is_alive(run) or is_alive(fork_server)), service)
    await wait_until(lambda: service.scratch == [], service)
    await service.start()  # to be stopped at the end


async def test_no_process_outlives_a_service_that_is_stopped(service: ServiceProcess, match: bytes) -> None:
    _, run, fork_server = await start_forked_export(service, await service.upload(match))
    service.stop(signal.SIGTERM)
    assert [pid for pid in (run, fork_server) if is_alive(pid)] == []
    assert service.scratch == []
    await service.start()  # to be stopped at the end
