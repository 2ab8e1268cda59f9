"""Every metric moves when its thing happens."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from service.dispatch.runners import Failed, RunnerRefused
from service.jobs.models import JOBS
from tests.service.conftest import bearer
from tests.service.metrics.samples import Samples, scrape
from tests.support.app_harness import EXPORTED, SOURCE, AppHarness
from tests.support.fakes import FakeRun

pytestmark = pytest.mark.anyio

KIND = {"type": "framing", "runner": "local"}


async def read(app: AppHarness) -> Samples:
    """Return a scrape in which every end is recorded, and the database was read again."""
    await app.state["scraper"].recorder.drain()
    app.state["scraper"].figures.expire()
    return await scrape(app.client)


async def start_run(app: AppHarness) -> FakeRun:
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    return run


async def test_an_export_is_counted_from_its_creation_to_its_end(app: AppHarness) -> None:
    before = await read(app)
    assert before.value("exports_created_total", **KIND) == 0
    run = await start_run(app)
    running = await read(app)
    assert running.value("database_exports", state="running", **KIND) == 1
    assert running.value("attempts_started_total", **KIND) == 1
    await run.report_progress(50)
    await app.complete_run(run)
    samples = await read(app)
    assert samples.value("exports_created_total", **KIND) == 1
    assert samples.value("attempts_started_total", **KIND) == 1
    assert samples.value("exports_ended_total", status="complete", code="", **KIND) == 1
    assert samples.value("export_duration_seconds_count", status="complete", **KIND) == 1
    assert samples.labels("export_phase_duration_seconds_count", "phase") == {
        *("queued", "cold_start", "starting", "processing", "finalizing")
    }
    assert samples.value("database_exports") == 0


async def test_waiting_exports_are_shown_with_their_age(app: AppHarness) -> None:
    app.runner.free_slots = 0
    job = await app.submit_export()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await app.submit_export(json=app.export_body(not_before=tomorrow.isoformat()))
    async with app.database.transaction() as session:
        aged = (
            JOBS.update().where(JOBS.c.job_id == job["job_id"]).values(limits_since=JOBS.c.limits_since - 90)
        )
        await session.execute(aged)
    samples = await read(app)
    assert samples.value("database_exports", state="waiting", **KIND) == 1
    assert samples.value("database_exports", state="delayed", **KIND) == 1
    assert 90 <= samples.value("database_oldest_waiting_seconds") < 150


async def test_lost_attempts_retries_and_failures_are_counted_by_their_reason(app: AppHarness) -> None:
    run = await start_run(app)
    await run.report_failed(code="source_unreachable", transient=True)
    run = await app.next_run()
    await run.report_started()
    await run.report_failed(code="no_video")
    job_id = run.spec.job_id
    assert (await app.client.post(f"/api/exports/{job_id}/retry")).status_code == 202
    await app.next_run()
    await app.client.delete(f"/api/exports/{job_id}")
    samples = await read(app)
    assert samples.value("attempts_started_total", **KIND) == 2
    assert samples.value("attempts_lost_total", reason="source_unreachable", **KIND) == 1
    assert samples.value("exports_retried_total", **KIND) == 1
    assert samples.value("exports_ended_total", status="error", code="no_video", **KIND) == 1
    assert samples.value("exports_ended_total", status="cancelled", code="", **KIND) == 1
    assert samples.value("export_duration_seconds_count", **KIND) == 2


async def test_what_the_service_finds_itself_is_a_loss_too(app: AppHarness) -> None:
    run = await start_run(app)
    call_id = str(run.spec.call_id)
    app.runner.statuses[call_id] = Failed("run_lost", "It is gone.", transient=True, interrupted=True)
    app.runner.ended_calls.append(call_id)
    app.runner.freed.set()
    await app.next_run()
    samples = await read(app)
    assert samples.value("attempts_lost_total", reason="run_lost", **KIND) == 1
    assert samples.value("runner_calls_total", runner="local", call="probe", result="run_lost") == 1
    assert samples.value("runner_calls_total", runner="local", call="spawn", result="ok") == 2


async def test_calls_that_the_runner_refuses_are_counted_by_code(app: AppHarness) -> None:
    app.runner.refusals.append(RunnerRefused("modal_app_missing", "It is not deployed.", transient=False))
    await app.submit_export()
    samples = await read(app)
    while not samples.value("exports_ended_total", code="modal_app_missing"):
        samples = await read(app)
    assert samples.value("runner_calls_total", call="spawn", result="modal_app_missing") == 1
    assert samples.value("runner_call_duration_seconds_count", call="spawn") == 1


async def test_callbacks_are_counted_by_answer_with_their_latency_and_batches(app: AppHarness) -> None:
    run = await start_run(app)
    await asyncio.gather(*(run.at_step(step).report_progress(step) for step in range(1, 5)))
    await app.client.post(run.url, json={})
    samples = await read(app)
    assert samples.value("callbacks_total", status="200") == 5
    assert samples.value("callbacks_total", status="401") == 1
    assert samples.value("callback_duration_seconds_count") == 6
    assert samples.value("callback_batch_size_sum") == 5
    assert 2 <= samples.value("callback_batch_size_count") <= 5


async def test_requests_are_counted_by_pattern_and_never_by_path(app: AppHarness) -> None:
    job = await app.submit_export()
    await app.client.get(f"/api/exports/{job['job_id']}")
    await app.client.get("/api/exports/unknown-export")
    await app.client.get("/no/such/path")
    await app.client.request("PROPFIND", "/api/exports")
    samples = await read(app)
    route = "/api/exports/{job_id}"
    assert samples.value("http_requests_total", route=route, method="GET", **{"class": "2xx"}) == 1
    assert samples.value("http_requests_total", route=route, method="GET", **{"class": "4xx"}) == 1
    assert samples.value("http_request_duration_seconds_count", route=route) == 2
    assert samples.value("http_requests_total", route="unknown", **{"class": "4xx"}) == 1
    assert samples.value("http_requests_total", route="/api/exports", method="other") == 1


async def test_uploads_and_their_bytes_are_counted(app: AppHarness) -> None:
    body = {"filename": "a.mp4", "size": len(EXPORTED), "content_type": "video/mp4"}
    target = (await app.client.post("/api/uploads", json=body)).json()
    await app.client.put(target["url"], content=EXPORTED, headers=target["headers"])
    samples = await read(app)
    assert samples.value("uploads_created_total") == 1
    assert samples.value("uploads_created_bytes_total") == len(EXPORTED)
    assert samples.value("uploads_received_bytes_total") == len(EXPORTED)


async def test_no_label_names_a_user_a_job_or_a_key(multi_user_app: AppHarness) -> None:
    app = multi_user_app
    job = await app.submit_export(user="ada", headers=bearer("ada"))
    run = await app.next_run()
    await run.report_started()
    await app.complete_run(run)
    await app.client.get(f"/api/exports/{job['job_id']}", headers=bearer("ada"))
    await app.state["scraper"].recorder.drain()
    shown = {
        value
        for metric in app.state["scraper"].registry.collect()
        for sample in metric.samples
        for value in sample.labels.values()
    }
    assert not any("ada" in value or job["job_id"] in value or SOURCE in value for value in shown)
