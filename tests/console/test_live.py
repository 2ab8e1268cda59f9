"""The list and the detail page follow exports over a bad network, for a user who is signed in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, expect

from tests.console.accessibility import find_violations
from tests.console.console_page import ConsolePage, open_console
from tests.javascript.proxied_service import USER, ProxiedService, open_proxied_service, users_settings
from tests.support.app_harness import FRAMING, SOURCE
from tests.support.browser.faulty_proxy import Sockets

HIDDEN_PAGE = """
    globalThis.isHidden = true;
    globalThis.notified = [];
    Object.defineProperty(Document.prototype, "visibilityState", { get: () => (isHidden ? "hidden" : "visible") });
    globalThis.Notification = class extends Notification {
        constructor(title, options) {
            super(title, options);
            notified.push(options.body);
        }
    };
"""
"""A tab that is in the background, which no headless browser has, and that keeps what it is notified of."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ProxiedService]:
    """The service of several users behind a faulty proxy; its runs are simulated."""
    async with open_proxied_service(users_settings(tmp_path)) as proxied:
        yield proxied


@pytest.fixture
async def console(browser_context: BrowserContext, service: ProxiedService) -> AsyncIterator[ConsolePage]:
    """A tab that is not signed in yet."""
    async with open_console(browser_context, service.url) as page:
        yield page


async def sign_in(console: ConsolePage, token: str) -> None:
    await console.open()
    await console.page.get_by_label("Token").fill(token)
    await console.press_button("Sign in")


async def test_a_visitor_is_asked_for_a_token_and_told_when_it_is_wrong(
    console: ConsolePage, service: ProxiedService, npm_packages: Path
) -> None:
    await sign_in(console, "no token")
    await expect(console.page.get_by_role("alert")).to_contain_text("invalid or expired")
    assert await find_violations(console.page, npm_packages) == []
    await console.page.get_by_label("Token").fill(service.create_token())
    await console.press_button("Sign in")
    await expect(console.page.get_by_role("heading", name="Exports", exact=True)).to_be_visible()
    await console.press_button("Sign out")
    await expect(console.page.get_by_label("Token")).to_be_visible()


async def test_an_export_is_followed_from_its_first_state_to_its_failure_and_tried_again(
    console: ConsolePage, service: ProxiedService, npm_packages: Path
) -> None:
    await sign_in(console, service.create_token())
    await expect(console.page.get_by_text("No exports yet")).to_be_visible()
    run = await service.submit_export()
    row = console.page.locator(".row")
    await expect(row).to_contain_text("Waiting")
    await run.report_started()
    await run.report_progress(40)
    await expect(row).to_contain_text("encoding, 40 %")
    await expect(console.page).to_have_title("40 % · Exports · Framehook")

    await row.click()
    await run.report_failed()
    await expect(console.page.locator(".problem").first).to_contain_text(
        "The file holds no video. (no_video)"
    )
    await expect(console.page.get_by_role("img", name="attempt 1")).to_be_visible()
    assert await find_violations(console.page, npm_packages) == []
    await console.press_button("Try again")
    await expect(console.page.locator(".badge")).to_have_text("Waiting")
    await console.press_button("Cancel")
    await expect(console.page.locator(".badge")).to_have_text("Cancelled")


async def test_an_export_whose_budget_is_used_up_says_so_and_what_to_do(
    console: ConsolePage, service: ProxiedService
) -> None:
    await service.stop()
    service.runner.gpu = "L4"
    service.settings = service.settings.model_copy(update={"gpu_usd_per_second": 0.01})
    await service.start()
    run = await service.submit_export(max_cost_usd=0.05)
    await run.report_started()
    await run.send("export.progress", gpu_seconds=6)
    await sign_in(console, service.create_token())
    await expect(console.page.locator(".row")).to_contain_text("has cost $0.0600 and may cost $0.05")
    await console.open(f"#/exports/{run.spec.job_id}")
    await expect(console.page.get_by_text("Its maximum cost is used up")).to_be_visible()
    await expect(console.page.get_by_role("button", name="Use these settings again")).to_have_class("primary")
    await expect(console.page.get_by_role("button", name="Try again")).to_have_count(0)


async def test_the_filters_of_the_list_hold_for_what_comes_later_too(
    console: ConsolePage, service: ProxiedService
) -> None:
    await sign_in(console, service.create_token())
    run = await service.submit_export()
    await expect(console.page.locator(".row")).to_have_count(1)
    await console.page.get_by_label("Status").select_option("error")
    await expect(console.page.get_by_text("No export matches these filters.")).to_be_visible()
    await run.report_started()
    await run.report_failed()
    await expect(console.page.locator(".row")).to_contain_text("Failed")


async def test_what_ended_while_nobody_looked_is_shown_once(
    console: ConsolePage, service: ProxiedService
) -> None:
    run = await service.submit_export()
    await run.report_started()
    await run.report_failed()
    await sign_in(console, service.create_token())
    await expect(console.page.get_by_text("1 finished while you were away")).to_be_visible()
    await console.press_button("Got it")
    await service.proxy.wait_for(
        lambda: any(
            each.path == "/api/exports/acknowledge" and each.status == 200
            for each in service.proxy.connections
        )
    )
    await console.page.reload()
    await expect(console.page.locator(".row")).to_have_count(1)
    await expect(console.page.get_by_text("while you were away")).to_be_hidden()


@pytest.mark.parametrize("sockets", [Sockets.REFUSE, Sockets.PASS])
async def test_a_network_that_cuts_and_swallows_websockets_hides_no_state(
    console: ConsolePage, service: ProxiedService, sockets: Sockets
) -> None:
    service.proxy.sockets = sockets
    await sign_in(console, service.create_token())
    transport = "Live (events)" if sockets is Sockets.REFUSE else "Live"
    await expect(console.page.locator("#connection")).to_have_text(transport)
    run = await service.submit_export()
    await run.report_started()
    await run.report_progress(30)
    row = console.page.locator(".row")
    await expect(row).to_contain_text("30 %")
    service.proxy.cut()
    await run.report_progress(60)
    await expect(row).to_contain_text("60 %")
    await service.stop()
    await expect(console.page.locator("#connection")).to_have_text("Reconnecting …")
    await service.start()
    await service.reconnect_run(run).report_failed()
    await expect(row).to_contain_text("Failed")
    assert service.proxy.most_streams == 1


async def test_two_tabs_share_one_connection_and_both_see_the_end(
    console: ConsolePage, service: ProxiedService, browser_context: BrowserContext
) -> None:
    await sign_in(console, service.create_token())
    async with open_console(browser_context, service.url) as second:
        await sign_in(second, service.create_token())
        run = await service.submit_export()
        await run.report_started()
        for page in (console.page, second.page):
            await expect(page.locator(".row")).to_contain_text("Running")
        await run.report_failed()
        for page in (console.page, second.page):
            await expect(page.locator(".row")).to_contain_text("Failed")
        assert service.proxy.most_streams == 1


async def test_an_export_is_deleted_for_good_after_a_confirmation(
    console: ConsolePage, service: ProxiedService
) -> None:
    run = await service.submit_export()
    await run.report_started()
    await run.report_failed()
    await sign_in(console, service.create_token())
    await console.open(f"#/exports/{run.spec.job_id}")
    console.page.once("dialog", lambda dialog: dialog.dismiss())
    await console.press_button("Delete for good")
    await expect(console.page.locator(".badge")).to_have_text("Failed")
    console.page.once("dialog", lambda dialog: dialog.accept())
    await console.press_button("Delete for good")
    await expect(console.page.get_by_text("No exports yet")).to_be_visible()
    await console.open(f"#/exports/{run.spec.job_id}")
    await expect(console.page.get_by_text("The export was erased.")).to_be_visible()

    other = (await service.submit_export()).spec.job_id
    await console.open(f"#/exports/{other}")
    await expect(console.page.locator(".badge")).to_have_text("Waiting")
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    await service.server.client.delete(f"/api/exports/{other}?purge=true", headers=headers)
    await expect(console.page.locator("#messages")).to_contain_text("match.mp4 was deleted.")
    await expect(console.page.get_by_text("No exports yet")).to_be_visible()


async def test_the_browser_notifies_of_results_only_after_it_was_told_to(
    console: ConsolePage, service: ProxiedService, browser_context: BrowserContext
) -> None:
    await browser_context.grant_permissions(["notifications"], origin=service.url)
    await console.page.add_init_script(HIDDEN_PAGE)
    await sign_in(console, service.create_token())
    await end_export(console, service)
    assert await console.page.evaluate("notified") == []

    await console.page.get_by_label("Notify me of results").check()
    await console.page.reload()
    await expect(console.page.get_by_label("Notify me of results")).to_be_checked()
    await end_export(console, service)
    assert await console.page.evaluate("notified") == ["match.mp4: The file holds no video."]

    await console.page.evaluate("isHidden = false")
    await console.page.reload()
    await expect(console.page.get_by_text("2 finished while you were away")).to_be_visible()


async def end_export(console: ConsolePage, service: ProxiedService) -> None:
    """Run an export into its failure and wait until the page shows it."""
    run = await service.submit_export()
    await run.report_started()
    row = console.page.locator(".row").first
    await expect(row).to_contain_text("Running")
    await run.report_failed()
    await expect(row).to_contain_text("Failed")


async def test_a_list_that_can_not_be_loaded_says_so_and_is_loaded_when_it_can(
    console: ConsolePage, service: ProxiedService
) -> None:
    await sign_in(console, service.create_token())
    await expect(console.page.get_by_text("No exports yet")).to_be_visible()
    await service.submit_export()
    await expect(console.page.locator(".row")).to_have_count(1)
    service.proxy.is_down = True
    service.proxy.cut()
    await console.page.get_by_label("Type").select_option("framing")
    await expect(console.page.get_by_role("button", name="Try again")).to_be_visible()
    await expect(console.page.locator("#connection")).to_have_text("Reconnecting …")
    service.proxy.is_down = False
    await console.press_button("Try again")
    await expect(console.page.locator(".row")).to_have_count(1)
    await expect(console.page.get_by_role("button", name="Try again")).to_be_hidden()


async def test_an_export_is_renamed_and_found_by_its_project_and_metadata(
    console: ConsolePage, service: ProxiedService
) -> None:
    run = await service.submit_export(project_id=7, metadata={"Order": 5, "rush": True}, name="First")
    await run.report_started()
    await run.report_failed()
    await service.submit_export(project_id=70, metadata={"order": 5})
    await sign_in(console, service.create_token())
    row = console.page.locator(".row")
    await expect(row).to_have_count(2)
    for label, text in (("Metadata", "Order=5"), ("Project", "7")):
        await console.page.get_by_label(label).fill(text)
        await expect(row).to_have_count(1)
        await expect(row).to_contain_text("First")
        await console.page.get_by_label(label).fill("")
        await expect(row).to_have_count(2)

    await console.open(f"#/exports/{run.spec.job_id}")
    await expect(console.page.get_by_role("heading", name="First", exact=True)).to_be_visible()
    await expect(console.page.get_by_text("Order=5, rush=true")).to_be_visible()
    await console.page.get_by_text("Edit", exact=True).click()
    await console.page.get_by_label("Export name").fill("Second")
    metadata = console.page.get_by_label("Metadata, one key=value on a line")
    assert await metadata.input_value() == "Order=5\nrush=true"
    await metadata.fill("Order=5\nplace=home")
    await console.press_button("Save")
    await expect(console.page.get_by_role("heading", name="Second", exact=True)).to_be_visible()
    job = await service.fetch_job(run.spec.job_id)
    assert (job["name"], job["project_id"]) == ("Second", 7)
    assert job["metadata"] == {"Order": 5, "place": "home"}
    await console.open()
    await expect(row.nth(1)).to_contain_text("Second")


async def test_what_the_filters_find_is_cancelled_and_tried_again(
    console: ConsolePage, service: ProxiedService
) -> None:
    service.runner.free_slots = 0
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    for number, project in enumerate(("cup", "cup", "league")):
        await service.server.post_export(
            user=USER, headers=headers, export_id=f"export-{number}", project_id=project
        )
    await sign_in(console, service.create_token())
    rows, page = console.page.locator(".row"), console.page
    await expect(rows).to_have_count(3)
    await expect(page.get_by_role("button", name="Cancel all of these")).to_be_hidden()
    await page.get_by_label("Project").fill("cup")
    await expect(rows).to_have_count(2)
    page.on("dialog", lambda dialog: dialog.accept())
    await console.press_button("Cancel all of these")
    await expect(rows.filter(has_text="Cancelled")).to_have_count(2)
    assert (await service.fetch_job("export-2"))["status"] == "pending"
    await console.press_button("Try all of these again")
    await expect(rows.filter(has_text="Waiting")).to_have_count(2)
    await page.get_by_label("Created since").fill("2100-01-01")
    await expect(page.get_by_text("No export matches these filters.")).to_be_visible()
    await page.get_by_label("Created since").fill("2020-01-01")
    await expect(rows).to_have_count(2)


async def test_a_user_who_is_no_operator_sees_what_was_used(
    console: ConsolePage, service: ProxiedService
) -> None:
    run = await service.submit_export(project_id="cup")
    await run.report_started()
    await run.report_failed()
    await sign_in(console, service.create_token())
    await console.open("#/system")
    await expect(console.page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    await expect(console.page.get_by_text("1 in 30 days")).to_be_visible()
    await console.page.get_by_label("Usage by").select_option("project")
    await expect(console.page.get_by_role("row", name="cup 1")).to_be_visible()


async def test_a_batch_is_followed_cancelled_and_deleted_as_one(
    console: ConsolePage, service: ProxiedService
) -> None:
    service.runner.free_slots = 0
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    await service.server.post_export(user=USER, headers=headers, export_id="alone-00")
    body = {"name": "Night", "exports": [{"type": "framing", "config": {"input_key": SOURCE, **FRAMING}}] * 2}
    answer = await service.server.client.post("/api/batches", json=body, headers=headers)
    first = answer.json()["exports"][0]["job_id"]
    await sign_in(console, service.create_token())
    await console.open(f"#/exports/{first}")
    await expect(console.page.locator("main p[role=status]")).to_contain_text("in the queue")
    await console.page.get_by_role("link", name=answer.json()["batch_id"]).click()
    panel = console.page.get_by_role("region", name="Batch")
    await expect(panel).to_contain_text("2 waiting")
    await expect(console.page.locator(".row")).to_have_count(2)
    delete = await panel.get_by_role("button", name="Delete all for good").element_handle()
    await console.press_button("Cancel all")
    await expect(panel).to_contain_text("2 cancelled")
    assert await delete.evaluate("button => button.isConnected")  # it keeps the focus
    console.page.once("dialog", lambda dialog: dialog.accept())
    await console.press_button("Delete all for good")
    await expect(console.page.locator(".row")).to_have_count(1)
    assert (await service.fetch_job("alone-00"))["status"] == "pending"


async def test_uploads_are_listed_with_what_reads_them_and_deleted(
    console: ConsolePage, service: ProxiedService
) -> None:
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    client = service.server.client
    for name in ("match.mp4", "training.mp4"):
        body = {"filename": name, "size": 5, "content_type": "video/mp4"}
        target = (await client.post("/api/uploads", json=body, headers=headers)).json()
        await client.put(target["url"], content=b"video", headers=target["headers"])
    export = {"type": "framing", "config": {"input_key": target["key"], **FRAMING}}
    service.runner.free_slots = 0
    job = (await client.post("/api/exports", json=export, headers=headers)).json()
    await sign_in(console, service.create_token())
    await console.open("#/uploads")
    row = console.page.locator("tbody tr")
    await expect(row).to_have_count(2)
    await expect(row.first).to_contain_text("training.mp4")
    await expect(row.first.get_by_role("link")).to_have_attribute("href", f"#/exports/{job['job_id']}")
    console.page.on("dialog", lambda dialog: dialog.accept())
    await console.press_button("Delete training.mp4")
    await expect(console.page.locator("#messages")).not_to_be_empty()
    await console.press_button("Delete match.mp4")
    await expect(row).to_have_count(1)
    listed = (await client.get("/api/uploads", headers=headers)).json()["uploads"]
    assert [upload["filename"] for upload in listed] == ["training.mp4"]
