"""A service on a real socket, and a file to export."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.live_server import DurableRunner, LiveServer, free_port, serve_app, settings_on


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    """A service whose calls outlive it, and which may send webhooks to this machine."""
    settings = settings_on(
        free_port(), data_dir, webhook_allowed_networks="127.0.0.0/8", webhook_allow_http=True
    )
    async with serve_app(settings, DurableRunner()) as served:
        yield served


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(b"video")
    return path
