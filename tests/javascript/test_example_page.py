"""The page of the browser guide: another origin, signed in, from the choice of a file to the video that plays."""

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
from playwright.async_api import BrowserContext, expect

from service.sample_video import write_video
from tests.docs.markdown import GUIDES, read_blocks
from tests.javascript.page_builder import build_page
from tests.support.service_process import ServiceProcess

JWT_SECRET = "a shared secret that is long enough for tests"
DOCUMENTED_URL = "https://exports.example.com"


def read_page() -> str:
    [block] = [block for block in read_blocks(GUIDES / "browser.md") if block.file_name == "export-page.tsx"]
    return block.text


@pytest.fixture
async def service_process(tmp_path: Path, page_origin: str) -> AsyncIterator[ServiceProcess]:
    """`framehook serve` for users with tokens and pages of another origin."""
    settings = {"AUTH_JWT_SECRET": JWT_SECRET, "ALLOWED_ORIGINS": page_origin}
    async with ServiceProcess(tmp_path / "service", settings) as service:
        yield service


async def test_the_page_of_the_guide_exports_a_video_plays_it_and_saves_it(
    service_process: ServiceProcess, browser_context: BrowserContext, npm_folder: Path, page_origin: str
) -> None:
    service_url = f"http://127.0.0.1:{service_process.port}"
    build_page(npm_folder, read_page().replace(DOCUMENTED_URL, service_url))
    (npm_folder / "token").write_text(jwt.encode({"sub": "ada", "exp": 4_000_000_000}, JWT_SECRET))
    sample = npm_folder / "match.mp4"
    write_video(sample)
    page = await browser_context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    await page.goto(f"{page_origin}/index.html")
    await page.set_input_files("input", sample)
    await page.get_by_role("button", name="Export").click()
    await page.wait_for_function("0 < document.querySelector('progress')?.value < 100")
    await page.screenshot(path=npm_folder / "progress.png")
    await expect(page.get_by_role("status")).to_have_text("complete")
    await page.evaluate("document.querySelector('video').play()")
    await page.wait_for_function("document.querySelector('video').currentTime > 0.2")
    size = await page.evaluate(
        "(({ videoWidth, videoHeight }) => [videoWidth, videoHeight])(document.querySelector('video'))"
    )
    assert size == [608, 1080]
    await page.screenshot(path=npm_folder / "complete.png")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download").click()
    download = await downloading.value
    assert download.suggested_filename.endswith(".mp4")
    path = await download.path()
    assert path.read_bytes()[4:8] == b"ftyp"
    assert problems == []
