"""Exports are held to what they, their user and the service may spend, through real callbacks."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from callbacks.envelope import Output, Phase, Report
from service.costs.days import day_of, end_of
from service.ingest.finalizer import attempt_output_key
from service.jobs import finalize_leases
from tests.service.conftest import bearer
from tests.service.dispatch.test_dispatcher import set_back
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun
from tests.support.job_factory import Row
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
ADA = bearer("ada")


async def submit(app: AppHarness, user: str = "ada", **fields: object) -> dict[str, Any]:
    return await app.submit_export(user=user, json=app.export_body(**fields), headers=bearer(user))


async def start(app: AppHarness, user: str = "ada", **fields: object) -> FakeRun:
    await submit(app, user, **fields)
    run = await app.next_run()
    assert (await run.report_started()).status_code == 200
    return run


async def spend(run: FakeRun, gpu_seconds: float) -> int:
    """Report what the run has used; return the status of the answer."""
    return (await run.send("export.progress", gpu_seconds=gpu_seconds)).status_code


async def load(app: AppHarness, run: FakeRun, user: str = "ada") -> dict[str, Any]:
    body: dict[str, Any] = (
        await app.client.get(f"/api/exports/{run.spec.job_id}", headers=bearer(user))
    ).json()
    return body


async def wait_for_row(app: AppHarness, job_id: str, **wanted: object) -> Row:
    async with asyncio.timeout(10):
        while not wanted.items() <= (row := await app.fetch_row(job_id)).items():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return row


async def test_a_run_is_stopped_when_its_export_has_cost_what_it_may(paid_app: AppHarness) -> None:
    run = await start(paid_app, max_cost_usd=0.05)
    assert await spend(run, 4.9) == 200
    job = await load(paid_app, run)
    assert (job["cost_usd"], job["max_cost_usd"], job["status"]) == (0.049, 0.05, "processing")
    assert await spend(run, 5.2) == 410
    job = await load(paid_app, run)
    assert (job["status"], job["error"]["code"], job["cost_usd"]) == ("error", "budget_exceeded", 0.052)
    assert "$0.0520" in job["error"]["message"]
    assert await spend(run, 5.3) == 410
    assert (await paid_app.complete_run(run)).status_code == 410
    assert (await load(paid_app, run))["status"] == "error"
    ends = [row["status"] for row in await paid_app.fetch_timeline(run.spec.job_id)]
    assert ends.count("error") == 1


async def test_an_output_that_a_dead_service_published_goes_when_the_run_is_stopped(
    paid_app: AppHarness,
) -> None:
    run = await start(paid_app, max_cost_usd=0.05)
    path = await publish_and_die(paid_app, run)
    assert path.exists()
    run.step += 1
    assert await spend(run, 5.2) == 410
    async with asyncio.timeout(10):
        while path.exists():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    assert run.spec.call_id in paid_app.runner.cancelled


async def publish_and_die(app: AppHarness, run: FakeRun) -> Path:
    """Do what a replica does with an output up to the moment before it would commit; return the file's path."""
    content = b"the exported video"
    app.put_output(run, content)
    output = Output(
        size=len(content),
        checksum=f"sha256:{hashlib.sha256(content).hexdigest()}",
        duration=1.0,
        width=64,
        height=64,
    )
    report = Report(
        job_id=run.spec.job_id,
        attempt=1,
        step=run.step + 1,
        call_id=run.spec.call_id,
        phase=Phase.DONE,
        progress=100,
        message="",
        output=output,
    )
    async with app.database.transaction() as session:
        job = await finalize_leases.acquire(session, report, "dead", lease_seconds=60, now=time.time())
    assert job is not None
    storage, key = app.state["storage"], attempt_output_key(job)
    await storage.publish("ada", key, job.output_key, size=output.size, checksum=output.checksum)
    async with app.database.transaction() as session:
        await finalize_leases.release(session, job.job_id, "dead")
    path = storage.local_path("ada", job.output_key)
    assert path is not None
    return path


async def test_what_earlier_attempts_cost_counts(paid_app: AppHarness) -> None:
    first = await start(paid_app, max_cost_usd=0.05)
    failed = {"code": "x", "message": "x", "transient": True}
    assert (await first.send("export.failed", gpu_seconds=3.0, error=failed)).status_code == 200
    await set_back(paid_app, first.spec.job_id, not_before=0.0)
    paid_app.state["dispatcher"].wake()
    second = await paid_app.next_run()
    assert await spend(second, 1.0) == 200
    assert (await second.send("export.failed", gpu_seconds=2.5, error=failed)).status_code == 200
    await set_back(paid_app, first.spec.job_id, not_before=0.0)
    paid_app.state["dispatcher"].wake()
    await wait_for_row(paid_app, first.spec.job_id, status="error")
    job = await load(paid_app, second)
    assert (job["error"]["code"], job["attempt"], job["cost_usd"]) == ("budget_exceeded", 3, 0.055)
    assert not paid_app.runner.spawned


async def test_a_user_s_exports_wait_for_the_next_day_when_the_budget_is_used_up(
    paid_app: AppHarness, clock: MovableClock
) -> None:
    first, second = await start(paid_app), await start(paid_app)
    paid_app.runner.free_slots = 0
    waiting = await submit(paid_app)
    assert await spend(first, 60) == 200
    assert await spend(second, 41) == 410
    assert await spend(first, 60.1) == 410
    assert (await load(paid_app, second))["error"]["code"] == "budget_exceeded"
    refused = await paid_app.client.post("/api/exports", json=paid_app.export_body(), headers=ADA)
    assert assert_problem(refused, 429)["code"] == "budget_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 86_401
    retried = await paid_app.client.post(f"/api/exports/{first.spec.job_id}/retry", headers=ADA)
    assert assert_problem(retried, 429)["code"] == "budget_exceeded"
    until = end_of(day_of(clock.clock.wall()))
    paid_app.state["dispatcher"].wake()
    row = await wait_for_row(paid_app, waiting["job_id"], held_until=until)
    assert (row["not_before"], row["status"]) == (until, "pending")
    assert "budget of $1 a day" in str(row["message"])
    paid_app.runner.free_slots = 4
    other = await start(paid_app, "bob")
    assert await spend(other, 10) == 200, "the budget of another user"
    clock.passed_seconds += 86_400
    paid_app.state["dispatcher"].wake()
    assert (await paid_app.next_run()).spec.job_id == waiting["job_id"]
    await submit(paid_app)


async def test_the_service_stops_at_its_own_budget(paid_app: AppHarness) -> None:
    runs = [await start(paid_app, user) for user in ("ada", "bob", "cleo")]
    assert [await spend(run, 70) for run in runs] == [200, 200, 410]
    job = await load(paid_app, runs[2], "cleo")
    assert job["error"]["code"] == "budget_exceeded"
    assert "budget of the service" in job["error"]["message"]
    paid_app.put_object(user="dora")
    refused = await paid_app.client.post("/api/exports", json=paid_app.export_body(), headers=bearer("dora"))
    assert assert_problem(refused, 429)["code"] == "budget_exceeded"


async def test_erasing_an_export_does_not_give_its_budget_back(paid_app: AppHarness) -> None:
    run = await start(paid_app, project_id="party")
    assert await spend(run, 99) == 200
    erased = await paid_app.client.delete(f"/api/exports/{run.spec.job_id}?purge=true", headers=ADA)
    assert erased.status_code == 204
    other = await start(paid_app)
    assert await spend(other, 2) == 410


async def test_what_runs_on_this_machine_costs_nothing(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(max_cost_usd=0.01))
    run = await app.next_run()
    assert await spend(run, 9_000) == 200
    body = (await app.client.get(f"/api/exports/{job['job_id']}")).json()
    assert (body["cost_usd"], body["gpu_seconds"]) == (0, 9_000)


@pytest.mark.parametrize("limit", [0, -1, "1", True, 1e9])
async def test_a_limit_that_is_no_amount_is_refused(app: AppHarness, limit: object) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(max_cost_usd=limit))
    assert assert_problem(answer, 422)["errors"][0]["loc"] == ["max_cost_usd"]
