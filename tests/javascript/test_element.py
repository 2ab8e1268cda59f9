"""`<framehook-export>` in a page without a framework and with a strict content security policy."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from gpu.spec import LocalFile
from tests.javascript.proxied_service import ProxiedService
from tests.support.app_harness import EXPORTED
from tests.support.fakes import FakeRun

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    """A folder without npm packages, for the page needs none."""
    folder = tmp_path / "pages"
    folder.mkdir()
    return folder


@pytest.fixture
def open_page(
    service: ProxiedService, browser_context: BrowserContext, page_folder: Path, page_origin: str
) -> OpenPage:
    """Open a page with this body, which loads the element from the service."""

    async def open_page(body: str) -> Page:
        policy = f"default-src 'none'; script-src {service.url}; connect-src {service.url}"
        (page_folder / "index.html").write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>Shop</title>'
            f'<script type="module" src="{service.url}/framehook-element.js"></script>{body}'
        )
        page = await browser_context.new_page()
        await page.goto(f"{page_origin}/index.html")
        return page

    return open_page


def element_for(service: ProxiedService, run: FakeRun, **attributes: str) -> str:
    values = {"export_id": run.spec.job_id, "base_url": service.url, "token": service.create_token()}
    written = " ".join(
        f'{name.replace("_", "-")}="{escape(value)}"' for name, value in (values | attributes).items()
    )
    return f"<framehook-export {written}></framehook-export>"


async def complete_run(run: FakeRun) -> None:
    target = run.spec.transfer.output
    assert isinstance(target, LocalFile)
    write_file(Path(target.path), EXPORTED)
    checksum = f"sha256:{hashlib.sha256(EXPORTED).hexdigest()}"
    await run.report_completed(size=len(EXPORTED), checksum=checksum)


def read_file(path: Path) -> bytes:
    return path.read_bytes()


def write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def test_the_element_shows_progress_and_then_a_link_that_saves_the_file(
    service: ProxiedService, open_page: OpenPage
) -> None:
    run = await service.submit_export()
    page = await open_page(element_for(service, run))
    await expect(page.get_by_role("status")).to_have_text("Waiting to start")
    await run.report_started()
    await run.report_progress(40)
    await expect(page.get_by_role("progressbar", name="Exporting")).to_have_attribute("value", "40")
    await complete_run(run)
    await expect(page.get_by_role("status")).to_have_text("The export is complete")
    await expect(page.get_by_role("progressbar")).to_be_hidden()
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download").click()
    download = await downloading.value
    assert read_file(await download.path()) == EXPORTED


async def test_the_element_cancels_and_tries_again(service: ProxiedService, open_page: OpenPage) -> None:
    run = await service.submit_export()
    page = await open_page(element_for(service, run))
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("status")).to_have_text("The export was cancelled")
    await page.get_by_role("button", name="Try again").click()
    again = FakeRun(await service.runner.next_spec(), service.server.client)
    await again.report_started()
    await expect(page.get_by_role("status")).to_have_text("Exporting")
    await expect(page.locator("framehook-export")).to_have_attribute("status", "processing")


async def test_texts_are_the_pages_own_and_are_never_markup(
    service: ProxiedService, open_page: OpenPage
) -> None:
    run = await service.submit_export()
    page = await open_page(element_for(service, run, text_error="Schade <b>!</b>", text_retry="Noch einmal"))
    markup = "<img src=x onerror=alert(1)>"
    await run.report_failed(message=markup)
    await expect(page.get_by_role("status")).to_have_text("Schade <b>!</b>")
    await expect(page.get_by_role("alert")).to_have_text(markup)
    await expect(page.get_by_role("button", name="Noch einmal")).to_be_visible()


async def test_an_element_that_is_removed_or_shows_another_export_watches_only_that(
    service: ProxiedService, open_page: OpenPage
) -> None:
    run, other = await service.submit_export(), await service.submit_export()
    page = await open_page(element_for(service, run) + "<div id='other'></div>")
    await expect(page.get_by_role("status")).to_have_text("Waiting to start")
    await page.evaluate("document.querySelector('#other').append(document.querySelector('framehook-export'))")
    await page.evaluate(
        f"document.querySelector('framehook-export').exportId = {json.dumps(other.spec.job_id)}"
    )
    await other.report_started()
    await expect(page.get_by_role("status")).to_have_text("Exporting")
    await service.proxy.wait_for(lambda: len(service.proxy.open_streams) == 1)
    await page.evaluate("document.querySelector('framehook-export').remove()")
    await service.proxy.wait_for(lambda: service.proxy.open_streams == [])


async def test_two_elements_share_a_connection_and_tell_the_page_of_the_end(
    service: ProxiedService, open_page: OpenPage
) -> None:
    runs = [await service.submit_export(), await service.submit_export()]
    page = await open_page("".join(element_for(service, run) for run in runs))
    await page.evaluate(
        "addEventListener('framehook-end', ({ detail }) => (globalThis.ended ??= []).push(detail.job_id))"
    )
    for run in runs:
        await run.report_failed()
        await page.wait_for_function("id => globalThis.ended?.includes(id)", arg=run.spec.job_id)
    assert service.proxy.most_streams == 1
    assert len({each.path.partition("?")[0] for each in service.proxy.connections if each.is_stream}) == 1


async def test_an_export_that_does_not_exist_is_an_alert(
    service: ProxiedService, open_page: OpenPage
) -> None:
    run = await service.submit_export()
    page = await open_page(element_for(service, run, export_id="01a22a43-4e6f-76e1-94bf-bf2a5be0c92d"))
    await expect(page.get_by_role("alert")).to_contain_text("exist")
    await expect(page.get_by_role("button")).to_have_count(0)
