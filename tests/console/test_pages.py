"""Every page: accessible, from one origin, within its budget, and without a control that does nothing."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from service.webhooks.endpoints import DEFAULT_EVENTS
from service.webhooks.models import EndpointFormat, WebhookEvent
from tests.console.accessibility import find_violations
from tests.console.console_page import ConsolePage
from tests.service.webhooks.verifying_receivers import (
    PythonReceiver,
    run_python_receiver,
    verify_with_standardwebhooks,
)
from tests.support.service_process import ServiceProcess

PAGES = ["#/", "#/new", "#/uploads", "#/webhooks", "#/system"]


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    """A service that may send webhooks to this machine, and has a setting without effect."""
    settings = {
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "WEBHOOK_ALLOW_HTTP": "true",
        "OPERATORS": "olga",
    }
    async with ServiceProcess(tmp_path_factory.mktemp("console"), settings) as process:
        yield process


@pytest.mark.parametrize("place", PAGES)
async def test_a_page_is_accessible(console: ConsolePage, npm_packages: Path, place: str) -> None:
    await console.open(place)
    await console.page.evaluate("sessionStorage.setItem('framehook.uploading', 'match.mp4')")
    await console.page.reload()  # the page for new exports now asks for the interrupted file
    await console.page.wait_for_load_state("networkidle")
    assert await find_violations(console.page, npm_packages) == []


@pytest.mark.parametrize("tool", ["Framing", "Overlay", "Annotate"])
async def test_the_editor_is_accessible(
    console: ConsolePage, npm_packages: Path, gradient: Path, tool: str
) -> None:
    await console.upload(gradient)
    await console.press_button(tool)
    if tool == "Overlay":
        await console.press_button("Add highlight")
        await console.press_button("Add text")
    if tool == "Annotate":
        await console.page.keyboard.press("o")
        await console.press_button("Mark out (O)")
    assert await find_violations(console.page, npm_packages) == []


async def test_a_finished_export_plays_beside_its_source_and_its_settings_can_be_used_again(
    console: ConsolePage, npm_packages: Path, gradient: Path
) -> None:
    await console.upload(gradient)
    await console.export()
    await expect(console.page.locator("figure video")).to_have_count(2)
    assert await find_violations(console.page, npm_packages) == []
    async with console.page.expect_download() as download:
        await console.press_button("Download")
    assert (await download.value).suggested_filename.endswith(".mp4")
    await console.press_button("Use these settings again")
    await console.wait_for_stage()
    await console.open("#/")
    await expect(console.page.locator(".row").first).to_be_visible()
    assert await find_violations(console.page, npm_packages) == []


async def test_settings_whose_video_was_deleted_are_kept_for_another_one(
    console: ConsolePage, service: ServiceProcess, gradient: Path
) -> None:
    key = await service.upload(b"video", "gone.mp4")
    draft = {
        "key": key,
        "name": "gone.mp4",
        "type": "annotate",
        "config": {"clips": [], "show_labels": False},
    }
    await service.http.delete(f"/api/uploads/{key}")
    await console.open("#/")
    await console.page.evaluate(
        "draft => sessionStorage.setItem('framehook.draft', draft)", json.dumps(draft)
    )
    await console.open("#/new")
    await expect(console.page.get_by_role("alert")).to_contain_text("the settings are kept")
    await console.page.set_input_files("#file", gradient)
    await console.wait_for_stage()
    await expect(console.page.get_by_label("Show name, stars and notes in the film")).not_to_be_checked()


async def test_nothing_is_loaded_from_another_origin_and_no_script_may_run_inline(
    console: ConsolePage,
) -> None:
    requested: list[str] = []
    console.page.on("request", lambda request: requested.append(request.url))
    for place in PAGES:
        await console.open(place)
    assert [url for url in requested if not url.startswith((console.url, "blob:", "data:"))] == []
    response = await console.page.goto(console.url)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


async def test_five_thousand_exports_are_a_few_rows_in_the_page(console: ConsolePage) -> None:
    await console.open("#/")
    rows = await console.page.evaluate(
        """async () => {
            const { WindowList } = await import("/console/list_page.js");
            const list = new WindowList({
                label: "Many", keyOf: (item) => item, onEnd: () => {},
                create: () => document.createElement("p"), update: (element, item) => { element.textContent = item; },
            });
            document.querySelector("main").append(list.element);
            list.show(Array.from({ length: 5000 }, (_, index) => index));
            list.element.scrollTop = 56 * 4000;
            await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
            const texts = [...list.space.children].map((row) => row.textContent);
            list.close();
            return texts;
        }"""
    )
    assert "4000" in rows
    assert len(rows) < 60


@pytest.fixture
def receiver() -> Iterator[PythonReceiver]:
    with run_python_receiver(verify_with_standardwebhooks) as running:
        yield running


async def test_a_webhook_is_added_tested_and_sent_again_after_its_receiver_failed(
    console: ConsolePage, npm_packages: Path, receiver: PythonReceiver
) -> None:
    await console.open("#/webhooks")
    await console.page.get_by_label("URL").fill(receiver.url)
    await console.press_button("Add")
    secret = (await console.page.locator("pre").first.text_content()) or ""
    await console.page.get_by_role("link", name=receiver.url).click()
    await console.press_button("Send a test event")
    delivery = console.page.locator(".delivery").first
    await delivery.locator("summary").click()
    await expect(delivery).to_contain_text("400")

    await receiver.use_key(secret)
    await console.press_button("Send again")
    await expect(console.page.locator(".delivery").first).to_contain_text("delivered")
    assert len(receiver.received) == 1
    await expect(console.page.get_by_text("50 % of 2 attempts")).to_be_visible()
    for name in ("Latency, p50", "Latency, p99", "Backlog"):
        await expect(console.page.get_by_text(name)).to_be_visible()
    assert await find_violations(console.page, npm_packages) == []

    await console.page.get_by_label("Headers, one on a line").fill(
        f"webhook-id: a\nwebhook-timestamp: {int(time.time())}\nwebhook-signature: v1,AAAA"
    )
    await console.page.get_by_label("Body, byte for byte").fill("{}")
    await console.press_button("Check")
    await expect(console.page.get_by_role("status").filter(has_text="base64")).to_be_visible()
    console.page.once("dialog", lambda dialog: dialog.accept())
    await console.press_button("Delete")
    await expect(console.page.get_by_text("None yet")).to_be_visible()


async def test_a_new_webhook_may_have_every_event_and_format_of_the_api(console: ConsolePage) -> None:
    page = console.page
    await console.open("#/webhooks")
    events = page.get_by_role("group", name="Events").get_by_role("checkbox")
    names = [await box.evaluate("box => box.labels[0].textContent") for box in await events.all()]
    assert names == list(WebhookEvent)
    chosen = [name for name, box in zip(names, await events.all(), strict=True) if await box.is_checked()]
    assert chosen == list(DEFAULT_EVENTS)
    await page.get_by_text("More: format").click()
    formats = await page.get_by_label("Format").evaluate(
        "list => [...list.options].map(({ value }) => value)"
    )
    assert formats == list(EndpointFormat)


async def test_the_list_filters_by_types_of_installed_packages(console: ConsolePage) -> None:
    async def add_type(route: Route) -> None:
        answer = await route.fetch()
        text = (await answer.text()).replace('"framing"', '"framing", "thumbnails"')
        await route.fulfill(response=answer, body=text)

    await console.page.route("**/console/choices.js", add_type)
    await console.open()
    options = await console.page.get_by_label("Type").evaluate(
        "list => [...list.options].map(({ value, text }) => [value, text])"
    )
    assert ["thumbnails", "thumbnails"] in options
    assert ["framing", "Framing"] in options


async def test_a_webhook_is_added_with_a_format_a_limit_headers_and_a_filter(
    console: ConsolePage, service: ServiceProcess, npm_packages: Path
) -> None:
    page = console.page
    await console.open("#/webhooks")
    await page.get_by_text("More: format").click()
    await page.get_by_label("URL").fill("http://127.0.0.1:8099/hook")
    await page.get_by_label("Format").select_option("cloudevents")
    await page.get_by_label("Deliveries a second").fill("2.5")
    await page.get_by_label("Headers to add").fill("X-Api-Key: secret-1\nAuthorization: Bearer secret-2")
    await page.get_by_label("framing").check()
    await page.get_by_label("Only exports of the project").fill("7")
    await page.get_by_label("Only exports with metadata").fill("order = A-1")
    assert await find_violations(page, npm_packages) == []
    await console.press_button("Add")
    await expect(page.get_by_role("button", name="Copy")).to_be_focused()
    await page.get_by_role("link", name="http://127.0.0.1:8099/hook").click()
    for text in (
        "CloudEvents 1.0",
        "type: framing; project_id: 7; metadata: order=A-1",
        "2.5 deliveries a second",
    ):
        await expect(page.locator("dd").filter(has_text=text)).to_be_visible()
    assert "secret-" not in await page.content()
    (endpoint,) = (await service.http.get("/api/webhooks")).json()["webhooks"]
    assert endpoint["filter"] == {"type": ["framing"], "project_id": "7", "metadata": {"order": "A-1"}}
    assert endpoint["header_names"] == ["Authorization", "X-Api-Key"]
    await service.http.delete(f"/api/webhooks/{endpoint['id']}")


async def test_a_webhook_is_edited_without_its_values_of_headers(
    console: ConsolePage, service: ServiceProcess, npm_packages: Path
) -> None:
    page = console.page
    headers = {"X-Api-Key": "secret-1", "Authorization": "Bearer secret-2"}
    body = {"url": "http://127.0.0.1:8099/edited", "headers": headers, "filter": {"type": ["framing"]}}
    path = "/api/webhooks/" + (await service.http.post("/api/webhooks", json=body)).json()["id"]
    await console.open(path.replace("/api", "#"))
    await page.get_by_text("Edit", exact=True).click()
    await page.get_by_text("More: format").click()
    await page.get_by_label("X-Api-Key").uncheck()
    await page.get_by_label("Headers to add").fill("no colon")
    await console.press_button("Save")
    await expect(page.get_by_role("alert").filter(has_text='There is no ":"')).to_be_visible()
    await page.get_by_label("Headers to add").fill("X-New: secret-3")
    await page.get_by_label("framing").uncheck()
    assert await find_violations(page, npm_packages) == []
    await console.press_button("Save")
    await expect(page.get_by_text("Authorization, X-New (values are not shown)")).to_be_visible()
    endpoint = (await service.http.get(path)).json()
    assert (endpoint["filter"], endpoint["header_names"]) == (None, ["Authorization", "X-New"])
    await service.http.delete(path)


async def test_the_system_page_says_in_sentences_what_was_found_and_what_to_do(console: ConsolePage) -> None:
    async def add_warning(route: Route) -> None:
        response = await route.fetch()
        system = await response.json()
        system["health"]["runner_warning"] = {
            "code": "old",
            "message": "Its app is of another release; deploy",
        }
        await route.fulfill(response=response, json=system)

    await console.page.route("**/api/system", add_warning)
    await console.open("#/system")
    items = console.page.get_by_role("listitem")
    await expect(items.filter(has_text="runner: warning")).to_contain_text(
        "Its app is of another release; deploy."
    )
    await expect(items.filter(has_text="settings: warning")).to_contain_text("set AUTH_JWT_SECRET")
    await expect(items.filter(has_text="open files: ok")).to_contain_text("are allowed.")


async def test_a_webhook_that_does_not_exist_leads_to_those_that_do(console: ConsolePage) -> None:
    await console.open("#/webhooks/ep_unknown")
    await expect(console.page.get_by_role("alert")).to_have_text("The webhook does not exist.")
    await console.page.get_by_role("link", name="All webhooks").click()
    await expect(console.page.get_by_role("heading", name="Add a webhook")).to_be_visible()


async def test_an_address_that_is_refused_says_why(console: ConsolePage) -> None:
    await console.open("#/webhooks")
    await console.page.get_by_label("URL").fill("http://user:pass@localhost:1/hook")
    await console.press_button("Add")
    await expect(console.page.get_by_role("alert").filter(has_text="url")).to_be_visible()


async def test_no_page_is_wider_than_its_screen(console: ConsolePage, gradient: Path) -> None:
    widths = (360, 768, 1920)
    await console.upload(gradient)
    for tool in ("Overlay", "Annotate", "Framing"):
        await console.press_button(tool)
        assert await find_exceeded_widths(console, widths) == []
    for place in PAGES:
        await console.open(place)
        await console.page.wait_for_load_state("networkidle")
        assert await find_exceeded_widths(console, widths) == []


async def find_exceeded_widths(console: ConsolePage, widths: tuple[int, ...]) -> list[int]:
    """Return those of the widths that the page is wider than."""
    exceeded_widths = []
    for width in widths:
        await console.page.set_viewport_size({"width": width, "height": 800})
        if await console.page.evaluate("document.documentElement.scrollWidth") > width:
            exceeded_widths.append(width)
    return exceeded_widths
