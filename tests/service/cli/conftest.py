"""A service on a real socket, and a video to export."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.live_server import DurableRunner, LiveServer, free_port, serve_app, settings_on
from tests.support.videos import Video, dot, frame_times, write_video


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    """A service whose calls outlive it, and which may send webhooks to this machine."""
    settings = settings_on(
        free_port(), data_dir, webhook_allowed_networks="127.0.0.0/8", webhook_allow_http=True
    )
    async with serve_app(settings, DurableRunner()) as served:
        yield served


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Half a second of video."""
    video = Video(draw=lambda time: dot(40 + 90 * time, 90), times=frame_times(0.5))
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", video).read_bytes()


@pytest.fixture
def source(tmp_path: Path, film: bytes) -> Path:
    path = tmp_path / "match.mp4"
    path.write_bytes(film)
    return path
