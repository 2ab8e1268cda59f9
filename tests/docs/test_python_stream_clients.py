"""Other people's Python clients follow exports, by the words of the streams guide."""

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.javascript.guide_clients import follow_past_a_cut, read_snippet, run_client
from tests.javascript.proxied_service import ProxiedService, open_proxied_service, users_settings
from tests.support.job_history import copy_finished

EVENT_STREAMS = ["httpx_sse_client.py", "sseclient_client.py"]
SOCKETS = ["aiohttp_socket.py", "websockets_client.py"]
OF_ONE_EXPORT = EVENT_STREAMS + SOCKETS
UNKNOWN = "01a22a43-4e6f-76e1-94bf-bf2a5be0c92d"
SHOW = "def show(job):\n    print(json.dumps(job), flush=True)\n"


@pytest.fixture
async def service(data_dir: Path) -> AsyncIterator[ProxiedService]:
    async with open_proxied_service(users_settings(data_dir)) as proxied:
        yield proxied


def write_script(folder: Path, snippet: str, service: ProxiedService, job_id: str = "") -> Path:
    """Write the snippet to a file, after the names that the guide says it uses."""
    names = {"API": service.url, "token": service.create_token(), "job_id": job_id}
    lines = [f"{name} = {value!r}" for name, value in names.items()]
    path = folder / snippet
    path.write_text("\n".join(["import json", *lines, SHOW, read_snippet(snippet)]))
    return path


@pytest.mark.parametrize("snippet", OF_ONE_EXPORT)
async def test_a_python_client_follows_an_export_past_a_cut_and_exits_at_its_end(
    tmp_path: Path, service: ProxiedService, snippet: str
) -> None:
    run = await service.submit_export()
    script = write_script(tmp_path, snippet, service, run.spec.job_id)
    async with run_client(sys.executable, script) as watching:
        await follow_past_a_cut(service, run, watching)
        await watching.wait_for(lambda watching: watching.exit_status == 0)
    assert watching.complaints == []
    assert watching.states[-1]["sequence"] == (await service.fetch_job(run.spec.job_id))["sequence"]
    statuses = service.proxy.stream_statuses
    assert statuses == ([200, 200, 204] if snippet in EVENT_STREAMS else [101, 101])


@pytest.mark.parametrize("snippet", OF_ONE_EXPORT)
async def test_a_python_client_comes_back_after_a_restart_of_the_service(
    tmp_path: Path, service: ProxiedService, snippet: str
) -> None:
    run = await service.submit_export()
    script = write_script(tmp_path, snippet, service, run.spec.job_id)
    async with run_client(sys.executable, script) as watching:
        await watching.wait_for(lambda watching: len(watching.states) > 0)
        await service.stop()
        await service.start()
        await service.reconnect_run(run).report_failed()
        await watching.wait_for(lambda watching: watching.exit_status == 0)
    assert watching.states[-1]["status"] == "error"


@pytest.mark.parametrize("snippet", OF_ONE_EXPORT)
async def test_a_python_client_gives_up_an_export_that_does_not_exist(
    tmp_path: Path, service: ProxiedService, snippet: str
) -> None:
    async with run_client(sys.executable, write_script(tmp_path, snippet, service, UNKNOWN)) as watching:
        await watching.wait_for(lambda watching: watching.exit_status == 1)
    assert "404" in watching.complaints[-1] + watching.complaints[-2]
    assert service.proxy.stream_statuses == [404]


async def test_the_stream_of_a_project_is_followed_past_a_cut_without_an_end_missed(
    tmp_path: Path, service: ProxiedService
) -> None:
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    runs = [await service.server.submit_export(user="ada", headers=headers, project_id=7) for _ in range(2)]
    await service.server.submit_export(user="ada", headers=headers, project_id=8)
    async with run_client(sys.executable, write_script(tmp_path, "aiohttp_events.py", service)) as watching:
        await watching.wait_for(lambda watching: len(watching.states) >= 2)
        await runs[0].report_failed()
        await watching.wait_for(lambda watching: watching.states[-1]["status"] == "error")
        service.proxy.cut()
        await runs[1].report_failed()
        await watching.wait_for(
            lambda watching: (
                {state["job_id"] for state in watching.states if state["status"] == "error"}
                == {run.spec.job_id for run in runs}
            )
        )
    assert {state["project_id"] for state in watching.states} == {7}


async def test_a_snapshot_of_two_hundred_exports_fits_into_the_lines_that_aiohttp_reads(
    tmp_path: Path, service: ProxiedService
) -> None:
    headers = {"Authorization": f"Bearer {service.create_token()}"}
    run = await service.server.submit_export(user="ada", headers=headers, project_id=7)
    await run.report_failed(message="x" * 1_000)
    database = service.server.uvicorn.lifespan.state["database"]
    await copy_finished(database, run.spec.job_id, 300, newest=time.time())
    async with run_client(sys.executable, write_script(tmp_path, "aiohttp_events.py", service)) as watching:
        await watching.wait_for(lambda watching: len(watching.states) == 200)
    assert len(json.dumps(watching.states)) > 2**18
