"""The portal in a browser: with the link alone, in a frame of another origin, and what it keeps to itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.async_api import BrowserContext, expect

from service.api.portal.page import FOLDER
from tests.console.accessibility import find_violations
from tests.console.console_page import WAIT_MILLISECONDS, ConsolePage, open_console
from tests.service.conftest import JWT_SECRET, bearer
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.service_process import ServiceProcess

MAX_BYTES = 6_000
"""Of the portal's own files; the rest is the console's, and counted there."""


EMBEDDING_PAGE = b"""<!doctype html><title>Shop</title><iframe title="Webhooks"></iframe>
<script>document.querySelector("iframe").src = decodeURIComponent(location.search.slice(1));</script>"""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The origin of a page that embeds the URL in its query."""
    with serve_script(ScriptedResponse(200, {"content-type": "text/html"}, EMBEDDING_PAGE)) as script:
        yield script.url


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory, shop: str) -> AsyncIterator[ServiceProcess]:
    """A service with users, whose portal the shop may embed."""
    settings = {
        "AUTH_JWT_SECRET": JWT_SECRET,
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_ALLOW_HTTP": "true",
        "PORTAL_FRAME_ANCESTORS": shop,
    }
    async with ServiceProcess(tmp_path_factory.mktemp("portal"), settings) as process:
        yield process


async def create_link(http: httpx.AsyncClient, user: str) -> str:
    answer = await http.post("/api/webhooks/portal-link", headers=bearer(user))
    url: str = answer.json()["url"]
    return url


async def test_a_consumer_manages_webhooks_with_the_link_alone(
    console: ConsolePage, service: ServiceProcess, npm_packages: Path
) -> None:
    requested: list[str] = []
    page = console.page
    page.on("request", lambda request: requested.append(request.url))
    others = await service.http.post(
        "/api/webhooks", json={"url": "http://127.0.0.1:2/others"}, headers=bearer("bob")
    )
    with serve_script(ScriptedResponse(204)) as receiver:
        await page.goto(await create_link(service.http, "ada"))
        await page.get_by_label("URL").fill(f"{receiver.url}/hook")
        assert await find_violations(page, npm_packages) == []
        await console.press_button("Add")
        await expect(page.get_by_text("whsec_")).to_be_visible()
        await page.get_by_role("link", name=f"{receiver.url}/hook").click()
        await console.press_button("Send a test event")
        await expect(page.locator("details .badge.complete")).to_be_visible()
        assert await find_violations(page, npm_packages) == []
    (request,) = receiver.requests
    assert request.headers["webhook-id"]
    assert others.json()["id"] not in await page.content()
    assert all(url.startswith(console.url) and "token" not in url for url in requested)
    assert "token" not in page.url
    preloaded = await page.eval_on_selector_all(
        "[rel=modulepreload]", "links => links.map((link) => link.href)"
    )
    assert {url for url in requested if url.endswith(".js")} == {
        *preloaded,
        f"{console.url}/portal/portal.js",
    }
    await page.reload()
    await expect(page.locator("details .badge.complete")).to_be_visible()
    await page.goto(f"{console.url}/portal#/webhooks/{others.json()['id']}")
    await expect(page.get_by_role("alert")).to_have_text("The webhook does not exist.")


async def test_a_page_of_the_setting_embeds_it_and_another_cannot(
    browser_context: BrowserContext, service: ServiceProcess, shop: str
) -> None:
    link = quote(await create_link(service.http, "ada"), safe="")
    page = await browser_context.new_page()
    await page.goto(f"{shop}/?{link}")
    await expect(page.frame_locator("iframe").get_by_label("URL")).to_be_visible(timeout=WAIT_MILLISECONDS)
    async with page.expect_event("console", lambda message: "frame-ancestors" in message.text):
        await page.goto(f"{shop.replace('127.0.0.1', 'localhost')}/?{link}")
    await expect(page.frame_locator("iframe").get_by_label("URL")).to_have_count(0)
    await page.close()


async def test_the_portal_says_what_an_expired_link_and_no_link_need(
    browser_context: BrowserContext, service: ServiceProcess
) -> None:
    async with open_console(browser_context, f"http://127.0.0.1:{service.port}") as console:
        alert = console.page.get_by_role("alert")
        await console.page.goto(f"{console.url}/portal")
        await expect(alert).to_contain_text("opened with a link")
        await console.page.goto(f"{console.url}/portal#token=portal_x.y.z")
        await expect(alert).to_contain_text("invalid or expired")


def test_the_portal_adds_little_to_the_console() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MAX_BYTES
