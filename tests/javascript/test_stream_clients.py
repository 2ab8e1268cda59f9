"""Other people's JavaScript clients follow an export to its end, by the words of the streams guide."""

from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.javascript.guide_clients import Watching, follow_past_a_cut, run_in_node, run_in_page, write_client
from tests.javascript.proxied_service import ProxiedService
from tests.support.fakes import FakeRun

UNKNOWN = "01a22a43-4e6f-76e1-94bf-bf2a5be0c92d"
IN_NODE = "const show = (job) => console.log(JSON.stringify(job));"
IN_PAGE = "const show = (job) => report(JSON.stringify(job));"
IN_NODE_ONLY = ["eventsource-package.mjs", "ws.mjs"]
IN_ANY = ["reconnecting-websocket.mjs", "partysocket.mjs"]
IN_PAGE_ONLY = ["event-source.js", "fetch-event-source.js"]


def write_for(folder: Path, snippet: str, service: ProxiedService, job_id: str, show: str) -> Path:
    names = {"API": service.url, "token": service.create_token(), "jobId": job_id}
    return write_client(folder, snippet, show=show, **names)


async def check_end(service: ProxiedService, run: FakeRun, watching: Watching, snippet: str) -> None:
    """Check that the client has seen the last state, left, and never came back but for the answer 204."""
    proxy = service.proxy
    if snippet.startswith("event"):
        await proxy.wait_for(lambda: proxy.stream_statuses == [200, 200, 204])
    await proxy.wait_for(lambda: proxy.open_streams == [])
    assert len(proxy.stream_statuses) == (3 if snippet.startswith("event") else 2)
    job = await service.fetch_job(run.spec.job_id)
    assert watching.sequences[-1] == job["sequence"]
    assert watching.complaints == []


@pytest.mark.parametrize("snippet", IN_ANY + IN_NODE_ONLY)
async def test_a_client_in_node_follows_an_export_past_a_cut_and_exits_at_its_end(
    npm_folder: Path, service: ProxiedService, snippet: str
) -> None:
    run = await service.submit_export()
    script = write_for(npm_folder, snippet, service, run.spec.job_id, IN_NODE)
    async with run_in_node(script) as watching:
        await follow_past_a_cut(service, run, watching)
        await watching.wait_for(lambda watching: watching.exit_status == 0)
        await check_end(service, run, watching, snippet)


@pytest.mark.parametrize("snippet", IN_ANY + IN_PAGE_ONLY)
async def test_a_client_in_a_page_follows_an_export_past_a_cut_and_stops_at_its_end(
    npm_folder: Path,
    service: ProxiedService,
    browser_context: BrowserContext,
    page_origin: str,
    snippet: str,
) -> None:
    run = await service.submit_export()
    script = write_for(npm_folder, snippet, service, run.spec.job_id, IN_PAGE)
    async with run_in_page(script, browser_context, page_origin) as watching:
        await follow_past_a_cut(service, run, watching)
        await check_end(service, run, watching, snippet)


@pytest.mark.parametrize("snippet", IN_ANY + IN_NODE_ONLY)
async def test_a_client_in_node_comes_back_after_a_restart_of_the_service(
    npm_folder: Path, service: ProxiedService, snippet: str
) -> None:
    run = await service.submit_export()
    script = write_for(npm_folder, snippet, service, run.spec.job_id, IN_NODE)
    async with run_in_node(script) as watching:
        await watching.wait_for(lambda watching: len(watching.states) > 0)
        await service.stop()
        await service.start()
        run = service.reconnect_run(run)
        await run.report_started()
        await run.report_failed()
        await watching.wait_for(lambda watching: watching.exit_status == 0)
        assert watching.states[-1]["status"] == "error"


async def test_fetch_event_source_comes_back_after_a_restart_of_the_service(
    npm_folder: Path, service: ProxiedService, browser_context: BrowserContext, page_origin: str
) -> None:
    run = await service.submit_export()
    script = write_for(npm_folder, "fetch-event-source.js", service, run.spec.job_id, IN_PAGE)
    async with run_in_page(script, browser_context, page_origin) as watching:
        await watching.wait_for(lambda watching: len(watching.states) > 0)
        await service.stop()
        await service.start()
        await service.reconnect_run(run).report_failed()
        await watching.wait_for(lambda watching: watching.states[-1]["status"] == "error")


@pytest.mark.parametrize("snippet", ["eventsource-package.mjs", "ws.mjs"])
async def test_a_client_in_node_gives_up_an_export_that_does_not_exist(
    npm_folder: Path, service: ProxiedService, snippet: str
) -> None:
    script = write_for(npm_folder, snippet, service, UNKNOWN, IN_NODE)
    async with run_in_node(script) as watching:
        await watching.wait_for(lambda watching: watching.exit_status == 0)
    assert service.proxy.stream_statuses == [404]
    assert watching.complaints[-1].endswith("404")


@pytest.mark.parametrize("snippet", IN_ANY)
async def test_a_reconnecting_socket_that_is_refused_backs_off(
    npm_folder: Path, service: ProxiedService, snippet: str
) -> None:
    script = write_for(npm_folder, snippet, service, UNKNOWN, IN_NODE)
    async with run_in_node(script):
        await service.proxy.wait_for(lambda: service.proxy.stream_statuses == [404, 404, 404])
    first, _, third = [each.opened_at for each in service.proxy.connections if each.is_stream]
    assert third - first > 1


async def test_an_event_source_gets_another_ticket_when_its_own_has_expired(
    npm_folder: Path, service: ProxiedService, browser_context: BrowserContext, page_origin: str
) -> None:
    short = "const fetch = (url, call) => globalThis.fetch(url, { ...call, body: '{\"expires_in\": 2}' });"
    run = await service.submit_export()
    script = write_for(npm_folder, "event-source.js", service, run.spec.job_id, f"{IN_PAGE}\n{short}")
    async with run_in_page(script, browser_context, page_origin) as watching:
        await service.proxy.wait_for(lambda: service.proxy.stream_statuses[-2:] == [401, 200])
        await run.report_failed()
        await watching.wait_for(lambda watching: watching.states[-1]["status"] == "error")


async def test_fetch_event_source_stops_at_a_refusal(
    npm_folder: Path, service: ProxiedService, browser_context: BrowserContext, page_origin: str
) -> None:
    script = write_for(npm_folder, "fetch-event-source.js", service, UNKNOWN, IN_PAGE)
    async with run_in_page(script, browser_context, page_origin) as watching:
        await watching.wait_for(lambda watching: watching.complaints != [])
    assert watching.complaints == ["The service refused the stream: 404"]
    assert service.proxy.stream_statuses == [404]
