"""Uppy's plugin for S3 uploads in parts with the glue of the guide, from a page of another origin."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.async_api import BrowserContext, Page

from tests.docs.markdown import GUIDES, read_blocks
from tests.service.api.transfers.test_download_urls import open_bucket_to
from tests.service.conftest import JWT_SECRET, bearer, token
from tests.support.fakes import FakeRunner
from tests.support.live_server import LiveServer, serve_app
from tests.support.npm.node_runtime import run_program
from tests.support.s3_server import S3Server
from tests.support.storage_harness import settings_for_storage

pytestmark = pytest.mark.anyio
CONTENT = bytes(range(256)) * 80_000  # 20,480,000 bytes: three parts
PART_COUNT = 3
ENTRY = """
import { createUploader } from "./uploader.js";
window.createUploader = createUploader;
"""
PREPARE = """
([api, token]) => {
  window.uploader = window.createUploader(`${api}/api`, () => token);
  window.outcome = new Promise((resolve) => {
    window.uploader.on("upload-success", (_file, { body }) => resolve({ key: body.key }));
    window.uploader.on("upload-error", (_file, error) => resolve({ error: error.message }));
  });
}
"""
UPLOAD = """
() => {
  const bytes = Uint8Array.from({ length: 20480000 }, (_, index) => index % 256);
  const data = new Blob([bytes], { type: "video/webm;codecs=vp9" });
  window.uploader.addFile({ name: "Aufnahme 1.webm", type: data.type, data });
  window.uploader.upload();
}
"""


@dataclass
class UppyPage:
    """A page with Uppy, and the service."""

    page: Page
    server: LiveServer

    async def upload(self) -> dict[str, str]:
        """Upload the content, and return the key or the error."""
        await self.page.evaluate(UPLOAD)
        outcome: dict[str, str] = await self.page.evaluate("() => window.outcome")
        return outcome

    async def read(self, key: str) -> bytes:
        answer = await self.server.http.post(f"/api/uploads/{key}/download-url", headers=bearer("ada"))
        assert answer.status_code == 200, answer.text
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(answer.json()["url"])).content


@pytest.fixture(scope="module")
def page_folder(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, bundled once."""
    folder = tmp_path_factory.mktemp("uppy")
    (folder / "node_modules").symlink_to(npm_packages / "node_modules")
    [guide] = [block for block in read_blocks(GUIDES / "api.md") if block.file_name == "uploader.js"]
    (folder / "uploader.js").write_text(guide.text)
    (folder / "entry.js").write_text(ENTRY)
    run_program(folder, "esbuild", "entry.js", "--bundle", "--outfile=page.js", "--log-level=warning")
    (folder / "index.html").write_text('<!doctype html><script src="page.js"></script>')
    return folder


@pytest.fixture(params=["folder", "s3"])
async def uppy(
    request: pytest.FixtureRequest,
    data_dir: Path,
    s3_server: S3Server,
    page_origin: str,
    browser_context: BrowserContext,
) -> AsyncIterator[UppyPage]:
    settings = await settings_for_storage(
        request.param, s3_server, data_dir, auth_jwt_secret=JWT_SECRET, allowed_origins=page_origin
    )
    await open_bucket_to(settings, page_origin)
    async with serve_app(settings, FakeRunner()) as server:
        page = await browser_context.new_page()
        await page.goto(f"{page_origin}/index.html")
        await page.evaluate(PREPARE, [server.url, token("ada")])
        yield UppyPage(page, server)
        await page.close()


async def test_a_recording_is_uploaded_in_parts(uppy: UppyPage) -> None:
    outcome = await uppy.upload()
    assert outcome.get("error") is None
    assert outcome["key"].endswith("/Aufnahme 1.webm")
    assert await digest(await uppy.read(outcome["key"])) == await digest(CONTENT)


async def test_a_part_that_the_network_drops_is_sent_again(uppy: UppyPage) -> None:
    dropped: list[str] = []

    async def drop_first(route: object, request: object) -> None:
        is_part = request.method == "PUT"  # type: ignore[attr-defined]
        if is_part and len(dropped) < PART_COUNT:
            dropped.append(request.url)  # type: ignore[attr-defined]
            await route.abort("connectionreset")  # type: ignore[attr-defined]
        else:
            await route.continue_()  # type: ignore[attr-defined]

    await uppy.page.route("**/*", drop_first)
    outcome = await uppy.upload()
    assert len(dropped) == PART_COUNT
    assert await digest(await uppy.read(outcome["key"])) == await digest(CONTENT)


async def test_a_paused_upload_goes_on_with_the_parts_that_are_missing(uppy: UppyPage) -> None:
    await uppy.page.evaluate(
        """() => {
          window.paused = new Promise((resolve) => {
            window.uploader.once("s3-multipart:part-uploaded", () => {
              window.uploader.pauseAll();
              resolve();
            });
          });
        }"""
    )
    await uppy.page.evaluate(UPLOAD)
    await uppy.page.evaluate("() => window.paused")
    await uppy.page.evaluate("() => window.uploader.resumeAll()")
    outcome: dict[str, str] = await uppy.page.evaluate("() => window.outcome")
    assert await digest(await uppy.read(outcome["key"])) == await digest(CONTENT)


async def test_a_cancelled_upload_leaves_nothing(uppy: UppyPage) -> None:
    await uppy.page.evaluate(
        """() => window.uploader.once("s3-multipart:part-uploaded", () => window.uploader.cancelAll())"""
    )
    async with uppy.page.expect_response(lambda response: response.request.method == "DELETE") as deleting:
        await uppy.page.evaluate(UPLOAD)
    response = await deleting.value
    assert response.status == 204
    assert (await uppy.server.http.get(response.url, headers=bearer("ada"))).status_code == 404


async def test_what_the_service_refuses_reaches_the_user_in_its_words(uppy: UppyPage) -> None:
    outcome = await uppy.page.evaluate(
        """() => {
          window.uploader.addFile({ name: "notes.txt", type: "text/plain", data: new Blob(["x"]) });
          window.uploader.upload();
          return window.outcome;
        }"""
    )
    assert "video/*" in outcome["error"]


async def digest(content: bytes) -> str:
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
