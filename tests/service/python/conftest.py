"""Clients of both kinds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.python.any_client import KINDS, ClientFactory


@pytest.fixture(params=KINDS)
async def clients(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientFactory]:
    """Each kind of client in turn."""
    factory = ClientFactory(request.param, tmp_path / "state")
    yield factory
    await factory.close()
