"""The control plane as a process: started, stopped, killed, and restarted with the same state."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import modal
import pytest
from anyio import open_process
from anyio.streams.text import TextReceiveStream
from modal.exception import OutputExpiredError

from infra.modal_local import Faults, ModalLocal
from tests.infra.modal_local.toy_app import get_function, open_client, wait_for_marks, wait_until


class ControlPlaneProcess(ModalLocal):
    """A control plane in a separate process, reached through the environment that it prints."""

    def __init__(self, environment: dict[str, str], pid: int) -> None:
        super().__init__()
        self.control_url = environment.pop("MODAL_LOCAL_CONTROL_URL")
        self.environment = environment
        self.pid = pid


@asynccontextmanager
async def run_control_plane(state: Path) -> AsyncIterator[ControlPlaneProcess]:
    """Run the process until the context or the process ends."""
    command = [sys.executable, "-m", "infra.modal_local", "--json", "--state-dir", str(state)]
    async with await open_process(command, stderr=None) as process:
        assert process.stdout
        line = await TextReceiveStream(process.stdout).receive()
        yield ControlPlaneProcess(json.loads(line), process.pid)
        if process.returncode is None:
            process.terminate()
        assert await process.wait() in {0, -signal.SIGKILL}


async def hold_calls(plane: ControlPlaneProcess) -> None:
    """Hold all calls from now on."""
    headers = {"Authorization": f"Bearer {plane.environment['MODAL_TOKEN_SECRET']}"}
    async with httpx.AsyncClient(base_url=plane.control_url, headers=headers) as http:
        (await http.put("/faults", json={"hold_calls": True})).raise_for_status()


def read_process_status(plane: ControlPlaneProcess, name: str) -> int:
    """Return a field of /proc/PID/status: Threads, or VmRSS in KiB."""
    lines = Path(f"/proc/{plane.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def is_alive(mark: Path) -> bool:
    return Path(f"/proc/{mark.name.removeprefix('run-')}").exists()


async def test_a_restart_keeps_deployments_results_and_open_calls(state: Path, tmp_path: Path) -> None:
    async with run_control_plane(state) as plane, open_client(plane) as client:
        ended = await get_function(client, "echo").spawn.aio("kept")
        assert await ended.get.aio(timeout=20) == "kept"
        running = await get_function(client, "work").spawn.aio(str(tmp_path))
        (mark,) = await wait_for_marks(tmp_path, 1)
    assert not is_alive(mark)
    async with run_control_plane(state) as plane, open_client(plane) as client:
        again = modal.FunctionCall.from_id(ended.object_id, client=client)
        assert await again.get.aio(timeout=0) == "kept"
        (tmp_path / "go").touch()
        again = modal.FunctionCall.from_id(running.object_id, client=client)
        assert await again.get.aio(timeout=20) != int(mark.name.removeprefix("run-"))


async def test_a_thousand_held_calls_need_little_memory_and_no_threads(state: Path) -> None:
    async with run_control_plane(state) as plane:
        await hold_calls(plane)
        async with open_client(plane) as client:
            echo = get_function(client, "echo")
            await echo.spawn.aio("warm")
            threads, memory = read_process_status(plane, "Threads"), read_process_status(plane, "VmRSS")
            for _ in range(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(50):
                        tasks.start_soon(echo.spawn.aio, "held")
            assert read_process_status(plane, "Threads") <= threads
            assert read_process_status(plane, "VmRSS") - memory < 16_384


async def test_containers_die_with_a_control_plane_that_is_killed(state: Path, tmp_path: Path) -> None:
    async with run_control_plane(state) as plane:
        async with open_client(plane) as client:
            await get_function(client, "work").spawn.aio(str(tmp_path))
            (mark,) = await wait_for_marks(tmp_path, 1)
        os.kill(plane.pid, signal.SIGKILL)
        await wait_until(lambda: not is_alive(mark))


async def test_calls_are_deleted_after_the_retention(state: Path) -> None:
    async with ModalLocal(state_dir=state, retention_seconds=0.2) as plane, open_client(plane) as client:
        call = await get_function(client, "echo").spawn.aio(1)

        async def has_expired() -> bool:
            try:
                await call.get.aio(timeout=0)
            except TimeoutError:
                return False
            except (OutputExpiredError, modal.exception.NotFoundError):
                return True
            return False

        await wait_until(has_expired)


async def test_a_delayed_start_does_not_delay_the_stop(state: Path) -> None:
    slow = ModalLocal(state_dir=state, faults=Faults(start_delay_seconds=3600))
    async with slow as plane, open_client(plane) as client:
        call = await get_function(client, "echo").spawn.aio(1)
        with pytest.raises(TimeoutError):
            await call.get.aio(timeout=0.5)


async def test_without_a_state_directory_nothing_is_left() -> None:
    async with ModalLocal() as plane:
        folder = Path(plane.environment["MODAL_CONFIG_PATH"]).parent
        assert folder.exists()
    assert not folder.exists()


def test_a_fault_needs_a_status_that_exists() -> None:
    with pytest.raises(ValueError, match="not a gRPC status"):
        Faults(refuse_spawns="RESOURCES")
