"""The service deletes abandoned uploads, also after the storage was unavailable."""

import asyncio
import logging
import os
import time
from pathlib import Path

import pytest

from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from service.upload_cleanup import UploadCleanup
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.anyio


async def test_abandoned_uploads_are_deleted_at_the_start(data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir)
    async with serve_app(settings, FakeRunner()) as server:
        body = {"filename": "a.mp4", "size": 9, "content_type": "video/mp4", "parts": True}
        assert (await server.http.post("/api/uploads", json=body)).status_code == 201
    (folder,) = children(data_dir / "incoming")
    old = time.time() - 27 * 3_600
    for path in (*children(folder), folder):
        os.utime(path, (old, old))
    async with asyncio.timeout(20), serve_app(settings, FakeRunner()):
        while children(data_dir / "incoming"):  # noqa: ASYNC110 - there is no event for deleted files
            await asyncio.sleep(0.01)


async def test_a_storage_error_is_logged_and_retried_in_an_hour(
    s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Bucket(s3_server.client_config(), attempts=1)  # which does not exist
    with caplog.at_level(logging.WARNING, "framehook.uploads"):
        assert await UploadCleanup(S3Storage(bucket)).delete_abandoned() == 0
    await bucket.close()
    assert "the bucket does not exist" in caplog.text


def children(folder: Path) -> list[Path]:
    return list(folder.iterdir())
