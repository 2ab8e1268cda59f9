"""LEGACY_FRONTEND: jobs in the shapes of a hand-written backend, over HTTP and on streams; webhooks keep theirs."""

import json
from contextlib import AsyncExitStack
from ipaddress import ip_network
from typing import Any

import pytest
from websockets.asyncio.client import connect

from service.settings import Settings
from tests.service.webhooks.api_calls import create_endpoint, path, wait_all_ended
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.stream_calls import events_path, receive_job, socket_url
from tests.support.stream_server import StreamServer, open_server

pytestmark = pytest.mark.anyio

PROJECT = {"project_id": 7, "project_name": "Spring cup"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"legacy_frontend": True, "webhook_allow_http": True}
    return settings.model_copy(update={**changes, "webhook_allowed_networks": (ip_network("127.0.0.0/8"),)})


async def submit_and_fail(app: AppHarness) -> str:
    job = await app.submit_export(json=app.export_body(**PROJECT))
    await (await app.next_run()).report_failed()
    return str(job["job_id"])


async def test_a_failed_export_says_why_in_a_sentence_with_the_code_beside_it(app: AppHarness) -> None:
    job_id = await submit_and_fail(app)
    for route in (f"/{job_id}", "/unacknowledged", "/recent", "", "/project/7", "?status=error"):
        answer = (await app.client.get(f"/api/exports{route}")).json()
        job = answer["exports"][0] if "exports" in answer else answer
        assert job["status"] == "error"
        assert (job["error"], job["error_code"]) == ("The file holds no video.", "no_video")
        assert (job["project_id"], job["project_name"]) == (7, "Spring cup")
        assert job["output_filename"] is None
    seen = (await app.client.post("/api/exports/acknowledge", json=[job_id])).json()
    assert seen["exports"][0]["error"] == "The file holds no video."
    retried = (await app.client.post(f"/api/exports/{job_id}/retry")).json()
    assert (retried["status"], retried["error"], retried["error_code"]) == ("pending", None, None)


async def test_a_cancelled_export_is_shown_as_failed(app: AppHarness) -> None:
    job = await app.submit_export()
    assert (job["status"], job["error"], job["project_name"]) == ("pending", None, None)
    cancelled = (await app.client.delete(f"/api/exports/{job['job_id']}")).json()
    shown = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    for answer in (cancelled, shown):
        assert (answer["status"], answer["error"]) == ("error", "The export was cancelled.")
        assert answer["error_code"] == "cancelled"
    assert (await app.client.delete(f"/api/exports/{job['job_id']}")).status_code == 202
    assert (await app.client.post(f"/api/exports/{job['job_id']}/retry")).status_code == 202


async def test_a_complete_export_names_its_file(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(**PROJECT))
    await app.complete_run(await app.next_run())
    shown = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    assert shown["output_filename"] == f"{job['job_id']}.mp4"
    assert shown["output"]["url"].endswith(f"/api/exports/{job['job_id']}/download")


async def test_sockets_have_each_field_in_camel_case_too(settings: Settings, stack: AsyncExitStack) -> None:
    server = await stack.enter_async_context(open_server(settings))
    run = await server.submit_export()
    async with connect(socket_url(server, run)) as one_export, connect(user_socket_url(server)) as user:
        message = await receive_job(one_export)
        assert {"jobId", "exportId", "projectId", "projectName", "outputFilename", "createdAt"} <= set(
            message
        )
        assert message["jobId"] == message["job_id"] == run.spec.job_id
        await run.report_failed()
        for socket in (one_export, user):
            while not message["done"]:
                message = await receive_job(socket)
            assert {name: message[name] for name in ("status", "type", "progress", "message")} == {
                "status": "error",
                "type": "framing",
                "progress": 0.0,
                "message": message["message"],
            }
            assert (message["error"], message["errorCode"]) == ("The file holds no video.", "no_video")
            message = {"done": False}
    await expect_event(server, events_path(run), "no_video")


def user_socket_url(server: StreamServer) -> str:
    return f"ws://{server.address}/ws/exports"


async def expect_event(server: StreamServer, events: str, code: str) -> None:
    async with server.events(events) as stream:
        event = await stream.next()
    assert event is not None
    assert (event.type, event.job["error_code"], event.job["errorCode"]) == ("export.failed", code, code)


async def test_webhooks_keep_the_usual_shape(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        await submit_and_fail(app)
        endpoint = await create_endpoint(app.client, receiver.url)
        await app.client.post(path(endpoint, "recover"), json={"since": "2020-01-01T00:00:00Z"})
        await wait_all_ended(app.client, endpoint, 1)
        job = await app.submit_export(json=app.export_body(**PROJECT))
        await app.client.delete(f"/api/exports/{job['job_id']}")
        await wait_all_ended(app.client, endpoint, 2)
    failed, cancelled = (json.loads(request.body)["data"] for request in receiver.requests)
    assert failed["error"] == {"code": "no_video", "message": "The file holds no video."}
    assert (cancelled["status"], cancelled["error"], cancelled["project_id"]) == ("cancelled", None, 7)
    for data in (failed, cancelled):
        assert not {"error_code", "project_name", "output_filename", "jobId"} & set(data)


async def test_without_the_setting_jobs_have_the_usual_shape(settings: Settings) -> None:
    usual = settings.model_copy(update={"legacy_frontend": False})
    async with open_app(usual, FakeRunner()) as app:
        job_id = await submit_and_fail(app)
        shown: dict[str, Any] = (await app.client.get(f"/api/exports/{job_id}")).json()
    assert shown["error"] == {"code": "no_video", "message": "The file holds no video."}
    assert not {"error_code", "project_name", "output_filename", "jobId"} & set(shown)
