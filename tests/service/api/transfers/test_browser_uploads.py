"""A page uploads what it recorded: the signed URL accepts the content type that a Chromium sends by itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.api.transfers.test_download_urls import open_bucket_to
from tests.service.conftest import JWT_SECRET, bearer, token
from tests.support.fakes import FakeRunner
from tests.support.live_server import LiveServer, ScriptedResponse, serve_app, serve_script
from tests.support.s3_server import S3Server
from tests.support.storage_harness import settings_for_storage

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

pytestmark = pytest.mark.anyio

START = """
async ([api, token, file]) => {
  const response = await fetch(`${api}/api/uploads`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify(file),
  });
  return response.json();
}
"""
RECORD = """
async () => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: "video/webm;codecs=vp8" });
  const chunks = [];
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  const begun = new Promise((resolve) => recorder.addEventListener("dataavailable", ({ data }) => {
    chunks.push(data);
    if (data.size > 0) resolve();
  }));
  recorder.start(10);
  let frame = 0;
  const draw = () => {
    context.fillRect(frame++ % 100, 0, 10, 10);
    if (recorder.state === "recording") requestAnimationFrame(draw);
  };
  draw();
  await begun;
  recorder.stop();
  await stopped;
  window.blob = new Blob(chunks, { type: recorder.mimeType });
  return { filename: "blob", size: window.blob.size, content_type: window.blob.type };
}
"""
MAKE_FILE = """
([name, type]) => {
  window.blob = new File(["video"], name, { type });
  return { filename: window.blob.name, size: window.blob.size, content_type: window.blob.type };
}
"""
SEND_BY_FETCH = "async (target) => (await fetch(target.url, { method: 'PUT', body: window.blob })).status"
SEND_AS_TOLD = """
async ({ url, headers }) => (await fetch(url, { method: "PUT", headers, body: window.blob })).status
"""
SEND_BY_XHR = """
(target) => new Promise((resolve) => {
  const request = new XMLHttpRequest();
  request.open("PUT", target.url);
  request.addEventListener("loadend", () => resolve(request.status));
  request.send(window.blob);
})
"""


@dataclass
class UploadPage:
    """A page of another origin, and the service."""

    page: "Page"
    server: LiveServer

    async def assert_each_way_works(self, file: dict[str, Any]) -> None:
        """Start an upload and send the blob in each way that pages use."""
        target = await self.page.evaluate(START, [self.server.url, token("ada"), file])
        assert target.get("url"), target
        for script in (SEND_BY_FETCH, SEND_BY_XHR, SEND_AS_TOLD):
            assert await self.page.evaluate(script, target) in (200, 201)
        path = f"/api/uploads/{target['key']}/download-url"
        assert (await self.server.http.post(path, headers=bearer("ada"))).status_code == 200


@pytest.fixture(params=["folder", "s3"])
async def uploads(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server, browser_context: "BrowserContext"
) -> AsyncIterator[UploadPage]:
    site_page = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<!doctype html>")
    with serve_script(site_page) as site:
        settings = await settings_for_storage(
            request.param, s3_server, data_dir, auth_jwt_secret=JWT_SECRET, allowed_origins=site.url
        )
        await open_bucket_to(settings, site.url)
        async with serve_app(settings, FakeRunner()) as server:
            page = await browser_context.new_page()
            await page.goto(site.url)
            yield UploadPage(page, server)
            await page.close()


async def test_a_recording_of_the_browser_is_uploaded(uploads: UploadPage) -> None:
    recording = await uploads.page.evaluate(RECORD)
    assert recording["content_type"].startswith("video/webm;codecs=")
    await uploads.assert_each_way_works(recording)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("match.mkv", ""),
        ("match.mp4", "application/octet-stream"),
        ("match.ts", "video/vnd.dlna.mpeg-tts"),
        ("match.mp4", 'video/mp4; codecs="avc1.64001F, mp4a.40.2"'),
        ("match.mov", "video/QuickTime"),
    ],
)
async def test_a_file_of_any_type_of_video_is_uploaded(
    uploads: UploadPage, name: str, content_type: str
) -> None:
    await uploads.assert_each_way_works(await uploads.page.evaluate(MAKE_FILE, [name, content_type]))
