"""A control plane with the toy app deployed; its faults are mended after each test."""

from collections.abc import AsyncIterator

import pytest
from modal.client import Client

from infra.modal_local import Faults, ModalLocal
from tests.infra.modal_local.toys import client_of, deploy


@pytest.fixture(scope="module")
async def deployed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModalLocal]:
    async with ModalLocal(max_containers=4) as running:
        await deploy(running, tmp_path_factory.mktemp("toy"))
        yield running


@pytest.fixture
async def plane(deployed: ModalLocal) -> AsyncIterator[ModalLocal]:
    yield deployed
    deployed.control.set(Faults())


@pytest.fixture
async def client(plane: ModalLocal) -> AsyncIterator[Client]:
    async with client_of(plane) as opened:
        yield opened
