"""The hooks and the button for React, in strict mode in Chromium and on a server, against the real service."""

import json
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.javascript.page_builder import build_page
from tests.javascript.proxied_service import ProxiedService
from tests.support.fakes import FakeRun
from tests.support.npm.node_runtime import NODE, create_npm_folder

PAGE = """
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { createClient } from "framehook";
import { ExportButton, FramehookProvider, useExport, useExports, useUpload } from "framehook/react";

const { API, token, id, app } = (window as unknown as { settings: Record<string, string> }).settings;
const client = createClient({ baseUrl: API, token });
const video = new File(["video".repeat(100_000)], "match.mp4", { type: "video/mp4" });
const text = new File(["text"], "notes.txt", { type: "text/plain" });
const config = { keyframes: [{ time: 0, x: 0, y: 0, width: 320, height: 180 }] };

function Progress({ name }: { name: string }) {
  const { job, problem, cancel, retry } = useExport(id);
  return (
    <p id={name}>
      <span>{problem ? problem.code : job ? `${job.status} ${job.progress}` : "loading"}</span>
      <button className="cancel" onClick={cancel}>Cancel</button>
      <button className="retry" onClick={retry}>Retry</button>
    </p>
  );
}
function TwoOfOne() {
  const [isShown, show] = useState(true);
  return (
    <>
      <button id="toggle" onClick={() => show(!isShown)}>Toggle</button>
      {isShown && <><Progress name="first" /><Progress name="second" /></>}
    </>
  );
}

function List() {
  const { exports, isLoading } = useExports({ status: ["pending", "processing"] });
  const ids = exports.map((job) => <li key={job.job_id}>{job.job_id}</li>);
  return isLoading ? <p>loading</p> : <ul>{ids}</ul>;
}

function Button() {
  const [ends, setEnds] = useState(0);
  return (
    <ExportButton type="framing" config={config} file={video} onEnd={() => setEnds((count) => count + 1)}>
      {({ step, progress, problem, buttonProps, cancel, retry }) => (
        <>
          <button {...buttonProps} id="start">Export</button>
          <button id="cancel" onClick={cancel}>Cancel</button>
          <button id="retry" onClick={retry}>Retry</button>
          <p id="state">{step} {Math.round(progress)} {problem?.code}</p>
          <p id="ends">{ends}</p>
        </>
      )}
    </ExportButton>
  );
}

function Upload() {
  const { step, fraction, stored, problem, upload } = useUpload();
  return (
    <>
      <button id="video" onClick={() => upload(video)}>Video</button>
      <button id="text" onClick={() => upload(text)}>Text</button>
      <p id="upload">{step} {fraction} {stored?.key.split("/").at(-1)} {problem?.status}</p>
    </>
  );
}
function Users() {
  const [user, setUser] = useState(client);
  return (
    <FramehookProvider client={user}>
      <button id="switch" onClick={() => setUser(createClient({ baseUrl: API, token }))}>Switch</button>
      <Button /><Upload />
    </FramehookProvider>
  );
}

const App = { TwoOfOne, List, Button, Upload, Users }[app]!;
createRoot(document.getElementById("root")!).render(
  <StrictMode><FramehookProvider client={client}><App /></FramehookProvider></StrictMode>,
);
"""

OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="module")
def page_folder(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of these tests, built once."""
    folder = create_npm_folder(tmp_path_factory.mktemp("react"), npm_packages)
    build_page(folder, PAGE)
    return folder


@pytest.fixture
def open_page(service: ProxiedService, browser_context: BrowserContext, page_origin: str) -> OpenPage:
    """Open the page, which shows one of its parts."""

    async def open_page(app: str, job_id: str = "") -> Page:
        settings = {"API": service.url, "token": service.create_token(), "id": job_id, "app": app}
        page = await browser_context.new_page()
        await page.add_init_script(f"window.settings = {json.dumps(settings)}")
        await page.goto(f"{page_origin}/index.html")
        return page

    return open_page


async def test_components_that_show_one_export_share_a_connection_and_its_states(
    service: ProxiedService, open_page: OpenPage
) -> None:
    run = await service.submit_export()
    page = await open_page("TwoOfOne", run.spec.job_id)
    await expect(page.locator("#first span")).to_have_text("pending 0")
    await run.report_started()
    await run.report_progress(40)
    await expect(page.locator("#first span")).to_have_text("processing 40")
    await expect(page.locator("#second span")).to_have_text("processing 40")
    assert service.proxy.most_streams == 1
    await page.click("#toggle")
    await service.proxy.wait_for(lambda: service.proxy.open_streams == [])
    await run.report_progress(70)
    await page.click("#toggle")
    await expect(page.locator("#second span")).to_have_text("processing 70")


async def test_each_component_goes_on_after_a_retry(service: ProxiedService, open_page: OpenPage) -> None:
    run = await service.submit_export()
    page = await open_page("TwoOfOne", run.spec.job_id)
    await page.click("#first .cancel")
    await expect(page.locator("#first span")).to_have_text("cancelled 0")
    await expect(page.locator("#second span")).to_have_text("cancelled 0")
    await page.click("#second .retry")
    again = FakeRun(await service.runner.next_spec(), service.server.client)
    await again.report_started()
    await again.report_progress(30)
    await expect(page.locator("#first span")).to_have_text("processing 30")
    await expect(page.locator("#second span")).to_have_text("processing 30")


async def test_an_export_that_does_not_exist_is_a_problem(open_page: OpenPage) -> None:
    page = await open_page("TwoOfOne", "01a22a43-4e6f-76e1-94bf-bf2a5be0c92d")
    await expect(page.locator("#first span")).to_have_text("not_found")


async def test_a_list_gains_what_is_submitted_and_loses_what_no_longer_matches(
    service: ProxiedService, open_page: OpenPage
) -> None:
    older = await service.submit_export()
    page = await open_page("List")
    await expect(page.locator("li")).to_have_text([older.spec.job_id])
    newer = await service.submit_export()
    await expect(page.locator("li")).to_have_text([newer.spec.job_id, older.spec.job_id])
    await older.report_failed()
    await expect(page.locator("li")).to_have_text([newer.spec.job_id])


async def test_the_button_uploads_exports_and_follows_and_takes_two_presses_for_one(
    service: ProxiedService, open_page: OpenPage
) -> None:
    page = await open_page("Button")
    await page.evaluate("document.querySelector('#start').click(), document.querySelector('#start').click()")
    run = FakeRun(await service.runner.next_spec(), service.server.client)
    await run.report_started()
    await run.report_progress(50)
    await expect(page.locator("#state")).to_have_text("exporting 50")
    await expect(page.locator("#start")).to_be_disabled()
    await run.report_failed()
    await expect(page.locator("#state")).to_have_text("error 50")
    await expect(page.locator("#ends")).to_have_text("1")
    await page.click("#retry")
    again = FakeRun(await service.runner.next_spec(), service.server.client)
    assert (again.spec.job_id, again.spec.attempt) == (run.spec.job_id, 2)
    await page.click("#cancel")
    await expect(page.locator("#state")).to_contain_text("cancelled")
    await expect(page.locator("#ends")).to_have_text("2")


async def test_a_press_after_a_problem_sends_neither_the_file_nor_the_export_twice(
    service: ProxiedService, open_page: OpenPage
) -> None:
    page = await open_page("Button")
    failures = [True]

    async def lose_answer(route: Route) -> None:
        """Let the request through, and its answer not."""
        if route.request.method == "POST" and failures:
            failures.clear()
            await route.fetch()
            await route.fulfill(
                status=500, json={"detail": "lost"}, headers={"access-control-allow-origin": "*"}
            )
        else:
            await route.continue_()

    await page.route("**/api/exports", lose_answer)
    await page.click("#start")
    await expect(page.locator("#state")).to_contain_text("error")
    await page.click("#start")
    await expect(page.locator("#state")).to_contain_text("exporting")
    posts = [each.path for each in service.proxy.connections if each.method in ("POST", "PUT")]
    assert len([path for path in posts if path == "/api/uploads"]) == 1
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    listed = await service.server.client.get("/api/exports", headers=headers)
    assert len(listed.json()["exports"]) == 1


async def test_an_upload_shows_its_progress_its_key_and_its_problem(open_page: OpenPage) -> None:
    page = await open_page("Upload")
    await expect(page.locator("#upload")).to_contain_text("idle 0")
    await page.click("#video")
    await expect(page.locator("#upload")).to_have_text("complete 1 match.mp4")
    await page.click("#text")
    await expect(page.locator("#upload")).to_have_text("error 0 415")


async def test_another_user_begins_anew(service: ProxiedService, open_page: OpenPage) -> None:
    page = await open_page("Users")
    await page.click("#video")
    await expect(page.locator("#upload")).to_contain_text("complete")
    await page.click("#start")
    await expect(page.locator("#state")).to_contain_text("exporting")
    await page.click("#switch")
    await expect(page.locator("#state")).to_contain_text("idle")
    await expect(page.locator("#upload")).to_contain_text("idle")
    await service.proxy.wait_for(lambda: service.proxy.open_streams == [])


def test_a_page_is_rendered_on_a_server_without_a_connection(npm_folder: Path) -> None:
    source = """
        import { createElement } from "react";
        import { renderToString } from "react-dom/server";
        import { createClient } from "framehook";
        import { ExportButton, FramehookProvider, useExport, useExports, useUpload } from "framehook/react";
        import "framehook/element";

        const client = createClient({ baseUrl: "http://127.0.0.1:1" });
        function App() {
          const { job } = useExport("export-1");
          const { exports, isLoading } = useExports();
          const { step } = useUpload();
          const button = createElement(ExportButton, { type: "framing", config: {}, children: ({ step }) => step });
          return createElement("p", null, String(job), exports.length, String(isLoading), step, button);
        }
        console.log(renderToString(createElement(FramehookProvider, { client }, createElement(App))));
    """
    script = build_page(npm_folder, source, platform="node")
    printed = subprocess.run([NODE, script], capture_output=True, text=True, check=True, timeout=60).stdout
    text = re.sub(r"<!--.*?-->", "", printed).strip()
    assert text == "<p>undefined0trueidleidle</p>"
