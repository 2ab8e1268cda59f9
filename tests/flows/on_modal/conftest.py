"""A control plane with the app deployed by the unmodified `modal` command, and small sources to export."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from anyio import run_process

from infra.modal_local import Faults, ModalLocal
from tests.flows.on_modal.modal_harness import ModalHarness, open_harness
from tests.flows.on_modal.split_exports import export_whole
from tests.gpu.chunks.chunk_comparison import CLICKS, SECONDS, pattern
from tests.support.videos import Video, clicks, dot, frame_times, write_video


async def deploy_app(plane: ModalLocal, *words: str, **environment: str) -> str:
    """Run `modal deploy` and return its output."""
    done = await run_process(
        [sys.executable, "-m", "modal", "deploy", *words],
        env={**os.environ, **plane.environment, **environment},
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="session")
async def shared_plane() -> AsyncIterator[ModalLocal]:
    async with ModalLocal(max_containers=3) as plane:
        await deploy_app(plane, "-m", "gpu.modal_app", MODAL_APP_NAME="framehook")
        yield plane


@pytest.fixture
async def plane(shared_plane: ModalLocal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModalLocal]:
    """The shared control plane, found by the SDK of this process; its faults are reset afterwards."""
    for name, value in shared_plane.environment.items():
        monkeypatch.setenv(name, value)
    yield shared_plane
    shared_plane.fault_api.set(Faults())


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Seven seconds of video and clicks, long enough for several chunks, with the index first."""
    first = (("movflags", "faststart"),)
    moving = Video(pattern, frame_times(SECONDS), tone=clicks(SECONDS, *CLICKS), container_options=first)
    return write_video(tmp_path_factory.mktemp("long") / "source.mp4", moving).read_bytes()


@pytest.fixture(scope="session")
def whole(long: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `long` in one piece, without Modal."""
    return export_whole(long, tmp_path_factory.mktemp("whole"))


@pytest.fixture
async def harness(plane: ModalLocal, data_dir: Path) -> AsyncIterator[ModalHarness]:
    async with open_harness(plane, data_dir) as running:
        yield running


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of video."""
    moving = Video(draw=lambda time: dot(50 + 60 * time, 90), times=frame_times(1))
    return write_video(tmp_path_factory.mktemp("source") / "source.mp4", moving).read_bytes()
