"""Videos reach the console over a bad network: dropped or chosen, cut off, and gone on with."""

import asyncio
import re
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from tests.console.console_page import ConsolePage, open_console
from tests.support.browser.faulty_proxy import FaultyProxy, open_proxy
from tests.support.service_process import ServiceProcess

LARGE_BYTES = 300_000_000
LIMIT_BYTES = 310_000_000


@pytest.fixture
async def proxy() -> AsyncIterator[FaultyProxy]:
    async with open_proxy(0) as opened:
        yield opened


@pytest.fixture
async def service(tmp_path: Path, proxy: FaultyProxy) -> AsyncIterator[ServiceProcess]:
    """A service whose public address is the proxy's."""
    settings = {"MAX_UPLOAD_BYTES": str(LIMIT_BYTES), "PUBLIC_URL": proxy.url}
    async with ServiceProcess(tmp_path / "service", settings) as process:
        proxy.port = process.port
        yield process


@pytest.fixture
async def console(
    browser_context: BrowserContext, proxy: FaultyProxy, service: ServiceProcess
) -> AsyncIterator[ConsolePage]:
    async with open_console(browser_context, proxy.url) as page:
        yield page


def enlarge(video: Path, path: Path, size: int) -> Path:
    """Write a copy of an MP4 with a `free` box of zeros at its end; on disk it takes no room."""
    content = video.read_bytes()
    with path.open("wb") as file:
        file.write(content + (size - len(content)).to_bytes(4) + b"free")
        file.truncate(size)
    return path


def list_parts(proxy: FaultyProxy) -> list[str]:
    """Return the addresses of the parts that the service has taken, in order."""
    return [
        each.path for each in proxy.connections if each.method == "PUT" and each.status in (200, 201, 204)
    ]


async def drop_file(console: ConsolePage, path: Path) -> None:
    """Drag a file of this machine into the page and drop it there."""
    session = await console.page.context.new_cdp_session(console.page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}

    async def send(kind: str) -> None:
        await session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})

    over = console.page.locator("body.over")
    while not await over.count():  # as a person does, who moves on until the page shows where to drop
        await send("dragEnter")
        await send("dragOver")
        await asyncio.sleep(0.1)
    await send("drop")
    await expect(over).to_have_count(0)


@pytest.mark.parametrize("place", ["#/", "#/new", "#/webhooks"])
async def test_a_video_is_dropped_on_any_page(console: ConsolePage, gradient: Path, place: str) -> None:
    await console.open(place)
    await drop_file(console, gradient)
    await console.wait_for_stage()
    await expect(console.page.get_by_role("heading", name="gradient.mp4")).to_be_visible()


async def test_an_upload_of_300_mb_outlives_cuts_a_killed_service_another_page_and_a_reload(
    console: ConsolePage, service: ServiceProcess, proxy: FaultyProxy, gradient: Path, tmp_path: Path
) -> None:
    large = enlarge(gradient, tmp_path / "large.mp4", LARGE_BYTES)
    await console.open("#/new")
    await console.page.set_input_files("#file", large)
    await proxy.wait_for(lambda: len(list_parts(proxy)) >= 2)
    proxy.cut()
    await proxy.wait_for(lambda: len(list_parts(proxy)) >= 4)

    proxy.is_down = True
    service.stop(signal.SIGKILL)
    proxy.cut()
    await expect(console.page.get_by_text("large.mp4 waits for the connection")).to_be_visible()
    await service.start()
    proxy.is_down = False
    await proxy.wait_for(lambda: len(list_parts(proxy)) >= 6)

    await console.page.get_by_role("link", name="System").click()
    await proxy.wait_for(lambda: len(list_parts(proxy)) >= 8)
    await console.page.get_by_role("link", name="New export").first.click()
    await expect(
        console.page.get_by_text(re.compile(r"Uploading large.mp4: \d+ MB of 300 MB"))
    ).to_be_visible()

    await console.page.reload()
    before = len(list_parts(proxy))
    await expect(console.page.get_by_role("heading", name="Choose large.mp4 again")).to_be_visible()
    await console.page.set_input_files("#file", large)
    await console.wait_for_stage()
    parts = list_parts(proxy)
    assert before >= 8
    assert len(parts) - before < len(set(parts))
    assert len(set(parts[before:]) & set(parts[: before - 4])) == 0
    stored = [path for path in (service.folder / "var").rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in stored if path.stat().st_size > LARGE_BYTES / 2] == [LARGE_BYTES]


async def test_what_is_no_video_or_too_large_is_refused_with_the_reason_and_another_can_be_chosen(
    console: ConsolePage, gradient: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all\n" * 100)
    await console.open("#/new")
    await console.page.set_input_files("#file", text)
    alert = console.page.get_by_role("alert")
    await expect(alert).to_contain_text("video")
    await console.page.set_input_files("#file", enlarge(gradient, tmp_path / "huge.mp4", LIMIT_BYTES + 1))
    await expect(alert).to_contain_text(re.compile(r"large|bytes|MB"))
    await console.page.set_input_files("#file", gradient)
    await console.wait_for_stage()


async def test_an_upload_is_given_up_on_the_page_and_leaves_nothing(
    console: ConsolePage, service: ServiceProcess, proxy: FaultyProxy, gradient: Path, tmp_path: Path
) -> None:
    large = enlarge(gradient, tmp_path / "unwanted.mp4", LARGE_BYTES)
    await console.open("#/new")
    await console.page.set_input_files("#file", large)
    await proxy.wait_for(lambda: len(list_parts(proxy)) >= 1)
    await console.press_button("Cancel")
    await expect(console.page.get_by_role("heading", name="Drop a video here")).to_be_visible()
    await proxy.wait_for(
        lambda: any(each.method == "DELETE" and each.status == 204 for each in proxy.connections)
    )


async def test_a_page_at_another_address_than_the_public_one_uploads_and_plays(
    browser_context: BrowserContext, service: ServiceProcess, gradient: Path
) -> None:
    async with open_console(browser_context, f"http://127.0.0.1:{service.port}") as console:
        await console.upload(gradient)


async def test_a_name_from_right_to_left_is_shown_in_its_direction(
    console: ConsolePage, gradient: Path, tmp_path: Path
) -> None:
    path = tmp_path / "משחק הגביע.mp4"
    shutil.copy(gradient, path)
    await console.open("#/new")
    await console.page.set_input_files("#file", path)
    await console.wait_for_stage()
    heading = console.page.get_by_role("heading", name=path.name)
    assert await heading.evaluate("heading => getComputedStyle(heading).direction") == "rtl"
    await console.export()
    await console.open("#/")
    name = console.page.locator(".row strong").first
    await expect(name).to_be_visible()
    assert await name.evaluate("name => getComputedStyle(name).direction") == "rtl"
