"""Control planes with the toy app deployed: one that many tests share, and copies for those that change it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modal.client import Client

from infra.modal_local import Faults, ModalLocal
from tests.infra.modal_local.toy_app import client_of, deploy


@pytest.fixture(autouse=True)
def _sdk_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service chooses another format for its calls, for the whole process; these tests tell of the SDK's own."""
    monkeypatch.setenv("MODAL_PAYLOAD_FORMAT", "pickle")


@pytest.fixture(scope="session")
async def deployed_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a control plane that has stopped: deploying anew would take each test a second."""
    state = tmp_path_factory.mktemp("deployed") / "state"
    async with ModalLocal(state_dir=state) as running:
        await deploy(running, tmp_path_factory.mktemp("toy"))
    return state


@pytest.fixture
def state(deployed_state: Path, tmp_path: Path) -> Path:
    return shutil.copytree(deployed_state, tmp_path / "state")


@pytest.fixture(scope="module")
async def shared(deployed_state: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModalLocal]:
    copied = shutil.copytree(deployed_state, tmp_path_factory.mktemp("shared") / "state")
    async with ModalLocal(state_dir=copied, max_containers=4) as running:
        yield running


@pytest.fixture
async def plane(shared: ModalLocal) -> AsyncIterator[ModalLocal]:
    """The shared one, whose faults are mended in the end."""
    yield shared
    shared.fault_api.set(Faults())


@pytest.fixture
async def own(state: Path) -> AsyncIterator[ModalLocal]:
    """One for a single test, which may deploy to it as it likes."""
    async with ModalLocal(state_dir=state, max_containers=2) as running:
        yield running


@pytest.fixture
async def client(plane: ModalLocal) -> AsyncIterator[Client]:
    async with client_of(plane) as opened:
        yield opened
