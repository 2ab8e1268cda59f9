"""A signed-in page of another origin plays, seeks, fetches and saves what it exported, in a real Chromium."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.api.transfers.test_download_urls import NAME, open_bucket_to
from tests.service.conftest import JWT_SECRET, bearer, token
from tests.support.app_harness import EXPORTED
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.s3_server import S3Server
from tests.support.small_mp4 import SECONDS, WIDTH
from tests.support.storage_harness import StorageHarness, open_harness, settings_for_storage

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page

pytestmark = pytest.mark.anyio
HTML = b"<!doctype html><video controls muted></video><a download>Save</a>"

CREATE_URL = """
async ([api, job, token, disposition]) => {
  const response = await fetch(`${api}/api/exports/${job}/download-url`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json", "X-Page": "1" },
    body: JSON.stringify({ disposition }),
  });
  return (await response.json()).url;
}
"""
PLAY = """
async (url) => {
  const video = document.querySelector("video");
  const happens = (event) => new Promise((resolve, reject) => {
    video.addEventListener(event, resolve, { once: true });
    video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
  });
  const loaded = happens("loadeddata");
  video.src = url;
  await loaded;
  const seeked = happens("seeked");
  video.currentTime = 1;
  await seeked;
  const ended = happens("ended");
  await video.play();
  await ended;
  return [video.duration, video.videoWidth];
}
"""
FETCH = """
async (url) => {
  const whole = await fetch(url);
  const part = await fetch(url, { headers: { Range: "bytes=5-9", "If-Range": whole.headers.get("etag") } });
  return {
    size: (await whole.blob()).size,
    type: whole.headers.get("content-type"),
    disposition: whole.headers.get("content-disposition"),
    status: part.status,
    range: part.headers.get("content-range"),
    bytes: (await part.arrayBuffer()).byteLength,
  };
}
"""


@dataclass
class SignedInPage:
    """A page of another origin, the service, and an export."""

    page: "Page"
    harness: StorageHarness
    job_id: str

    async def create_url(self, disposition: str) -> str:
        arguments = [self.harness.server.url, self.job_id, token("ada"), disposition]
        return str(await self.page.evaluate(CREATE_URL, arguments))


@pytest.fixture(params=["folder", "s3"])
async def signed_in(
    request: pytest.FixtureRequest,
    data_dir: Path,
    s3_server: S3Server,
    browser_context: "BrowserContext",
    tmp_path: Path,
) -> AsyncIterator[SignedInPage]:
    with serve_script(ScriptedResponse(headers={"Content-Type": "text/html"}, body=HTML)) as site:
        settings = await settings_for_storage(
            request.param, s3_server, data_dir, auth_jwt_secret=JWT_SECRET, allowed_origins=site.url
        )
        await open_bucket_to(settings, site.url)
        async with open_harness(settings, bearer("ada")) as harness:
            job_id = await harness.complete_export(tmp_path, output_key=f"exports/{NAME}")
            page = await browser_context.new_page()
            await page.goto(site.url)
            yield SignedInPage(page, harness, job_id)
            await page.close()


async def test_a_video_element_plays_and_seeks(signed_in: SignedInPage) -> None:
    duration, width = await signed_in.page.evaluate(PLAY, await signed_in.create_url("inline"))
    assert duration == pytest.approx(SECONDS, abs=0.1)
    assert width == WIDTH


async def test_a_fetch_reads_the_bytes_and_their_headers(signed_in: SignedInPage) -> None:
    answer: dict[str, Any] = await signed_in.page.evaluate(FETCH, await signed_in.create_url("attachment"))
    assert answer["disposition"].startswith("attachment;")
    assert answer["type"] == "video/mp4"
    assert (answer["size"], answer["bytes"]) == (len(EXPORTED), 5)
    assert (answer["status"], answer["range"]) == (206, f"bytes 5-9/{len(EXPORTED)}")


async def test_a_link_saves_the_file_under_its_name(signed_in: SignedInPage) -> None:
    url = await signed_in.create_url("attachment")
    await signed_in.page.evaluate("url => { document.querySelector('a').href = url }", url)
    async with signed_in.page.expect_download() as saving:
        await signed_in.page.click("a")
    download = await saving.value
    assert download.suggested_filename == NAME
    assert await asyncio.to_thread(Path(await download.path()).read_bytes) == EXPORTED


async def test_an_inline_url_opens_as_a_video_of_its_own(signed_in: SignedInPage) -> None:
    await signed_in.page.goto(await signed_in.create_url("inline"))
    is_playable = await signed_in.page.wait_for_function(
        "() => document.querySelector('video')?.readyState >= 1"
    )
    assert await is_playable.json_value()
