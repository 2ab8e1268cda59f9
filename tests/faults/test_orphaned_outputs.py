"""A service that dies between publishing an output and committing leaves nothing behind."""

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from callbacks.envelope import Output, Phase, Report
from service.dispatch.runners import Failed
from service.ingest.finalizer import attempt_output_key
from service.jobs import finalize_leases
from service.settings import load_settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun, FakeRunner

CONTENT = b"the exported video"
OUTPUT = Output(
    size=len(CONTENT),
    checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
    duration=1.0,
    width=64,
    height=64,
)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def app(data_dir: Path, clock: MovableClock) -> AsyncIterator[AppHarness]:
    settings = load_settings(data_dir=data_dir, host="127.0.0.1", port=8000, _env_file="")
    async with open_app(settings, FakeRunner(), clock.clock) as app:
        yield app


async def died_finalizing(app: AppHarness, *, now: float = 0.0) -> FakeRun:
    """Return the run of an attempt whose output is published while its row is not `complete`."""
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    app.put_output(run, CONTENT)
    report = Report(
        job_id=run.spec.job_id,
        attempt=1,
        step=2,
        call_id=run.spec.call_id,
        phase=Phase.DONE,
        progress=100,
        message="",
        output=OUTPUT,
    )
    async with app.database.transaction() as session:
        job = await finalize_leases.acquire(session, report, "another", lease_seconds=60, now=now)
    assert job is not None
    written = attempt_output_key(job)
    storage = app.state["storage"]
    assert await storage.publish("local", written, job.output_key, size=OUTPUT.size, checksum=OUTPUT.checksum)
    assert await storage.find("local", job.output_key) is not None
    return run


async def test_a_run_that_ends_while_its_output_is_taken_in_is_not_lost(app: AppHarness) -> None:
    run = await died_finalizing(app, now=time.time())
    app.runner.statuses[run.spec.call_id] = Failed("run_lost", "Gone.", transient=True)
    await app.state["rescuer"].check_ended([run.spec.call_id])
    row = await app.fetch_row(run.spec.job_id)
    assert (row["attempt"], row["phase"]) == (1, "finalizing")


async def test_a_run_that_ended_is_asked_after_once_taking_it_in_takes_too_long(
    app: AppHarness, clock: MovableClock
) -> None:
    run = await died_finalizing(app, now=time.time())
    app.runner.statuses[run.spec.call_id] = Failed("run_lost", "Gone.", transient=True)
    await clock.pass_time(app, app.settings.finalize_lease_seconds + 5)
    assert (await app.fetch_row(run.spec.job_id))["attempt"] == 2


async def test_a_cancel_withdraws_the_output(app: AppHarness) -> None:
    run = await died_finalizing(app)
    assert (await app.client.delete(f"/api/exports/{run.spec.job_id}")).status_code == 202
    row = await app.fetch_row(run.spec.job_id)
    assert row["status"] == "cancelled"
    assert await app.state["storage"].find("local", str(row["output_key"])) is None


async def test_a_failure_withdraws_the_output(app: AppHarness) -> None:
    run = await died_finalizing(app)
    run.step = 4
    assert (await run.report_failed()).status_code == 200
    row = await app.fetch_row(run.spec.job_id)
    assert row["status"] == "error"
    assert await app.state["storage"].find("local", str(row["output_key"])) is None
