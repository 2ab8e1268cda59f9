"""The clients against a service whose jobs have the shapes of a hand-written backend."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from framehook import ExportFailed
from tests.service.python.any_client import ClientFactory
from tests.support.live_server import FRAMING, DurableRunner, LiveServer, free_port, serve_app, settings_on


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    settings = settings_on(free_port(), data_dir, legacy_frontend=True)
    async with serve_app(settings, DurableRunner()) as server:
        yield server


async def test_errors_and_cancelled_exports_are_read_from_both_shapes(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    key = await client.call("upload", io.BytesIO(b"video"), filename="match.mp4")
    config = {**FRAMING, "input_key": key}
    failed = await client.call("create_export", "framing", config, export_id="failed-export", project_id=7)
    await (await server.next_run()).report_failed()
    with pytest.raises(ExportFailed, match=r"The file holds no video\."):
        await client.call("wait", "failed-export")
    await client.call("cancel", (await client.call("create_export", "framing", config)).job_id)
    cancelled, listed = await client.list_items("list")
    assert (listed.job_id, listed.project_id, listed.export_id) == (failed.job_id, 7, "failed-export")
    assert (listed.error.code, listed.error.message) == ("no_video", "The file holds no video.")
    assert (cancelled.status, cancelled.error) == ("cancelled", None)
    assert [state.error for state in await client.list_items("watch", failed.job_id)] == [listed.error]
