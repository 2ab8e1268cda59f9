"""The pages for people: readable without a token, linked with each other, and complete without any other host."""

import re
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import pytest
from playwright.async_api import BrowserContext, Page

from service.api.pages.guide_rendering import Guide, read_guides, render_guide
from service.settings import Settings
from tests.docs.markdown import DOCUMENTS
from tests.service.conftest import token
from tests.support.app_harness import AppHarness
from tests.support.fakes import FakeRunner
from tests.support.live_server import LiveServer, free_port, serve_app


@pytest.fixture
async def signed_in_server(users_settings: Settings, stack: AsyncExitStack) -> LiveServer:
    """A service that asks for tokens, on a socket."""
    changed = users_settings.model_copy(update={"port": free_port()})
    return await stack.enter_async_context(serve_app(changed, FakeRunner()))


@pytest.fixture
async def requests_of_page(browser_context: BrowserContext) -> list[str]:
    requests: list[str] = []
    browser_context.on("request", lambda request: requests.append(request.url))
    return requests


async def open_reference(context: BrowserContext, url: str, errors: list[str]) -> Page:
    page = await context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    await page.goto(f"{url}/docs")
    await page.wait_for_selector(".opblock")
    return page


async def try_out(page: Page, operation: str) -> str:
    """Call an operation by the page's own button, and return the status that the page shows."""
    block = page.locator(f"[id$='-{operation}']")
    if not await block.locator(".execute").count():
        await block.locator(".opblock-summary-control").click()
        await block.locator(".try-out__btn").click()
    await block.locator(".execute").click()
    return await block.locator(".live-responses-table .response-col_status").last.inner_text()


async def test_the_reference_calls_the_service_with_the_token_that_it_is_given(
    signed_in_server: LiveServer, browser_context: BrowserContext, requests_of_page: list[str]
) -> None:
    errors: list[str] = []
    page = await open_reference(browser_context, signed_in_server.url, errors)
    assert errors == []
    assert "401" in await try_out(page, "list_exports")
    await page.click(".btn.authorize")
    await page.locator(".modal-ux input").first.fill(token())
    await page.locator(".modal-ux .authorize.button, .modal-ux button.authorize").first.click()
    await page.click(".modal-ux .btn-done")
    async with page.expect_response(re.compile(r"/api/exports$|/api/exports\?")) as response:
        await page.locator("[id$='-list_exports'] .execute").click()
    assert (await response.value).status == 200
    assert {urlsplit(url).netloc for url in requests_of_page if not url.startswith("data:")} == {
        urlsplit(signed_in_server.url).netloc
    }


async def test_guides_load_their_images_and_nothing_from_elsewhere(
    signed_in_server: LiveServer, browser_context: BrowserContext, requests_of_page: list[str]
) -> None:
    page = await browser_context.new_page()
    await page.goto(f"{signed_in_server.url}/docs/guides/exports")
    sizes = await page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(sizes) == 3
    assert all(sizes)
    assert {urlsplit(url).netloc for url in requests_of_page} == {urlsplit(signed_in_server.url).netloc}


async def test_every_document_is_a_page_and_every_link_between_pages_leads_to_one(
    multi_user_app: AppHarness,
) -> None:
    names = {path.stem.lower() for path in DOCUMENTS}
    assert set(read_guides()) == names
    checked = set()
    for name in names:
        answer = await multi_user_app.client.get(f"/docs/guides/{name}")
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        for target in re.findall(r'(?:href|src)="([^"]+)"', answer.text):
            path, _, anchor = target.partition("#")
            if re.match("https?:", path) or (path, anchor) in checked:
                continue
            checked.add((path, anchor))
            page = await multi_user_app.client.get(path or f"/docs/guides/{name}")
            assert page.status_code == 200, target
            assert not anchor or f'id="{anchor}"' in page.text, target
    assert len(checked) > 20


def test_html_in_a_guide_is_shown_as_text() -> None:
    assert "<script" not in render_guide(
        Guide("evil", "Evil", "<script>alert(1)</script>\n\n[x](javascript:y)")
    )


async def test_a_page_that_has_not_changed_is_not_sent_again(app: AppHarness) -> None:
    first = await app.client.get("/docs")
    again = await app.client.get("/docs", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/docs/assets/index.html", "/docs/guides/images/..%2Fapi.md", "/docs/guides/none"]
)
async def test_no_other_file_is_served(app: AppHarness, path: str) -> None:
    assert (await app.client.get(path)).status_code == 404
