"""Clients of both kinds, and a service on a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.python.any_client import KINDS, ClientFactory
from tests.support.live_server import DurableRunner, LiveServer, free_port, serve_app, settings_on


@pytest.fixture(params=KINDS)
async def clients(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClientFactory]:
    """Each kind of client in turn."""
    factory = ClientFactory(request.param, tmp_path / "state")
    yield factory
    await factory.close()


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    """A service whose calls outlive it."""
    async with serve_app(settings_on(free_port(), data_dir), DurableRunner()) as served:
        yield served
