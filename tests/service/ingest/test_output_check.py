"""A report alone completes no export: only an output that matches its report is published."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callbacks.envelope import Output
from gpu.spec import LocalFile, RemoteObject
from gpu.transfer.multipart import upload_file
from service.dispatch.runners import Finished
from service.ingest.prober import Prober, UnreadableSource
from service.settings import Settings
from tests.gpu.run_pipeline import run_to_end
from tests.service.dispatch.test_dispatcher import wait_for_state
from tests.support.app_harness import EXPORTED, AppHarness, open_app
from tests.support.fakes import OUTPUT, FakeRun, FakeRunner, ThreadProber
from tests.support.s3_server import S3Server
from tests.support.small_mp4 import make_video
from tests.support.storage_harness import StorageHarness, open_harness, settings_for_storage

HTML = b"<!doctype html><title>403</title><p>Forbidden" * 200


def make_sound_only_video() -> bytes:
    """Encode an MP4 without a picture."""
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 72_000), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 48_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture
async def app(settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """Exports with a single attempt."""
    once_only = settings.model_copy(update={"attempt_limit": 1})
    return await stack.enter_async_context(open_app(once_only, FakeRunner()))


def build_report(content: bytes, **more: object) -> dict[str, Any]:
    """Return what a run reports of an output, with its true size and checksum."""
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {**OUTPUT, "size": len(content), "checksum": checksum, **more}


async def run_export(app: AppHarness, content: bytes, **claimed: object) -> dict[str, Any]:
    """Run an export that writes `content` and reports `claimed`; return its job."""
    job = await app.submit_export()
    run = await app.next_run()
    app.put_output(run, content)
    assert (await run.report_completed(**build_report(content, **claimed))).status_code == 200
    body: dict[str, Any] = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    return body


@pytest.mark.parametrize(
    ("content", "claimed"),
    [
        pytest.param(HTML, {}, id="a page"),
        pytest.param(b"x", {}, id="one byte"),
        pytest.param(make_sound_only_video(), {}, id="no picture"),
        pytest.param(EXPORTED[: len(EXPORTED) // 4], {}, id="cut off"),
        pytest.param(EXPORTED, {"duration": 3.0}, id="too long"),
        pytest.param(EXPORTED, {"duration": 0.0}, id="too short"),
        pytest.param(EXPORTED, {"width": 642}, id="too wide"),
        pytest.param(EXPORTED, {"width": 360, "height": 640}, id="upright"),
    ],
)
async def test_what_is_not_the_video_that_was_reported_is_not_published(
    app: AppHarness, content: bytes, claimed: dict[str, object]
) -> None:
    job = await run_export(app, content, **claimed)
    assert (job["status"], job["error"]["code"], job["output"]) == ("error", "output_invalid", None)
    assert await app.state["storage"].find("local", job["output_key"]) is None


async def test_a_lie_costs_an_attempt(settings: Settings, stack: AsyncExitStack) -> None:
    app = await stack.enter_async_context(open_app(settings, FakeRunner()))
    job = await run_export(app, HTML)
    assert (job["status"], job["attempt"]) == ("pending", 2)
    assert (await app.client.get(f"/api/exports/{job['job_id']}/download")).status_code == 409


async def test_a_calls_value_is_believed_no_more_than_a_callback(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    app.put_output(run, HTML)
    app.runner.statuses[run.spec.call_id] = Finished(Output(**build_report(HTML)), 1.0)
    await run.report_started()
    app.runner.ended_calls.append(run.spec.call_id)
    app.state["dispatcher"].wake()
    body = await wait_for_state(app, job["job_id"], status="error")
    assert body["error"]["code"] == "output_invalid"


@pytest.mark.parametrize(
    "claimed",
    [{"duration": 1e300}, {"duration": -1}, {"width": 65_536, "height": 1}, {"width": -1}, {"size": 0}],
    ids=str,
)
async def test_a_report_that_can_be_of_no_video_is_not_taken(
    app: AppHarness, claimed: dict[str, object]
) -> None:
    await app.submit_export()
    run = await app.next_run()
    answer = await run.report_completed(**build_report(EXPORTED, **claimed))
    assert answer.status_code == 422
    assert next(iter(claimed)) in answer.json()["detail"]


@pytest.mark.parametrize(
    "numbers",
    [{"gpu_seconds": 1e308}, {"gpu_seconds": -1}, {"eta_seconds": 1e308}, {"progress": 101}],
    ids=str,
)
async def test_numbers_that_no_run_can_mean_are_not_taken(app: AppHarness, numbers: dict[str, float]) -> None:
    await app.submit_export()
    run = await app.next_run()
    assert (await run.send("export.progress", **numbers)).status_code == 422


async def test_outputs_are_looked_at_by_processes_of_their_own(
    settings: Settings, stack: AsyncExitStack
) -> None:
    once_only = settings.model_copy(update={"attempt_limit": 1})
    app = await stack.enter_async_context(open_app(once_only, FakeRunner(), prober=Prober()))
    assert (await run_export(app, EXPORTED))["status"] == "complete"
    assert (await run_export(app, HTML))["error"]["code"] == "output_invalid"


class LateProber(ThreadProber):
    """Fail the first probe with a code."""

    def __init__(self, code: str) -> None:
        self.codes = [code]

    async def probe(
        self, user_id: str, location: LocalFile | RemoteObject, *, output_type: str | None = None
    ) -> dict[str, Any]:
        if self.codes:
            raise UnreadableSource(self.codes.pop(), "")
        return await super().probe(user_id, location, output_type=output_type)


@pytest.mark.parametrize("code", ["probe_timeout", "source_missing"])
async def test_an_output_of_which_nothing_could_be_told_is_looked_at_again(
    settings: Settings, stack: AsyncExitStack, code: str
) -> None:
    once_only = settings.model_copy(update={"attempt_limit": 1})
    app = await stack.enter_async_context(open_app(once_only, FakeRunner(), prober=LateProber(code)))
    job = await app.submit_export()
    run = await app.next_run()
    assert (await app.complete_run(run)).status_code == 503
    assert (await app.complete_run(run)).status_code == 200
    body = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    assert (body["status"], body["attempt"]) == ("complete", 1)


@pytest.fixture(params=["folder", "s3"])
async def harness(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[StorageHarness]:
    chosen = await settings_for_storage(request.param, s3_server, data_dir, attempt_limit=1)
    async with open_harness(chosen) as harness:
        yield harness


@pytest.mark.parametrize(
    ("content", "status"), [(make_video(b"x"), "complete"), (HTML, "error")], ids=["a video", "a page"]
)
async def test_an_output_from_elsewhere_is_looked_at_where_it_lies(
    harness: StorageHarness, content: bytes, status: str, tmp_path: Path
) -> None:
    spec, target = await harness.submit_with_target()
    path = tmp_path / "made.mp4"
    path.write_bytes(content)
    await asyncio.to_thread(lambda: run_to_end(upload_file(path, target)))
    run = FakeRun(spec, harness.server.http)
    assert (await run.report_completed(**build_report(content))).status_code == 200
    job = (await harness.server.http.get(f"/api/exports/{spec.job_id}")).json()
    assert job["status"] == status, job
