"""Control planes with the toy app deployed: a shared one, and copies for tests that change it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modal.client import Client

from infra.modal_local import Faults, ModalLocal
from tests.infra.modal_local.toy_app import deploy, open_client


@pytest.fixture(autouse=True)
def _use_default_payload_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test the SDK's own payload format; the service sets another one for the whole process."""
    monkeypatch.setenv("MODAL_PAYLOAD_FORMAT", "pickle")


@pytest.fixture(scope="session")
async def deployed_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a stopped control plane; a deployment per test would take a second each."""
    state = tmp_path_factory.mktemp("deployed") / "state"
    async with ModalLocal(state_dir=state) as running:
        await deploy(running, tmp_path_factory.mktemp("toy"))
    return state


@pytest.fixture
def state(deployed_state: Path, tmp_path: Path) -> Path:
    return shutil.copytree(deployed_state, tmp_path / "state")


@pytest.fixture(scope="module")
async def shared(deployed_state: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModalLocal]:
    state = shutil.copytree(deployed_state, tmp_path_factory.mktemp("shared") / "state")
    async with ModalLocal(state_dir=state, max_containers=4) as running:
        yield running


@pytest.fixture
async def plane(shared: ModalLocal) -> AsyncIterator[ModalLocal]:
    """The shared control plane, whose faults are reset after the test."""
    yield shared
    shared.fault_api.set(Faults())


@pytest.fixture
async def own_plane(state: Path) -> AsyncIterator[ModalLocal]:
    """A control plane of a single test, which may deploy to it."""
    async with ModalLocal(state_dir=state, max_containers=2) as running:
        yield running


@pytest.fixture
async def client(plane: ModalLocal) -> AsyncIterator[Client]:
    async with open_client(plane) as client:
        yield client
