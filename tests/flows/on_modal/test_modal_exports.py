"""Exports on Modal, from the request to the file: the unmodified SDK, real containers, signed URLs."""

import asyncio
from pathlib import Path

import pytest

from gpu.spec import AttemptSpec
from infra.modal_local import Faults, ModalLocal
from service.dispatch.runners.modal import ModalRunner
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.modal_harness import House, housed, runner_of

pytestmark = pytest.mark.anyio


async def test_an_export_runs_on_modal_and_its_timeline_tells_of_every_phase(
    house: House, source: bytes
) -> None:
    job_id = await house.submitted(source)
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"], job["runner"]) == ("complete", 1, "modal")
    assert str(job["call_id"]).startswith("fc-")
    timeline = await house.timeline(job_id)
    phases = [phase["phase"] for phase in timeline["phases"]]
    assert phases == [
        *("queued", "cold_start", "starting", "downloading", "processing", "uploading", "finalizing"),
    ]
    assert timeline["gpu_seconds"] > 0
    assert timeline["estimated_cost_usd"] == pytest.approx(timeline["gpu_seconds"] * 0.000222, abs=1e-5)


async def test_an_export_that_can_t_be_made_fails_with_its_code(house: House) -> None:
    job = await house.ended(await house.submitted(b"this is no video"))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("error", 1, "source_unreadable")


async def test_a_container_that_crashes_is_followed_by_another(house: House, source: bytes) -> None:
    release = house.road.hold(OUTPUT)
    job_id = await house.submitted(source)
    await house.road.came(OUTPUT)
    house.plane.fault_api.crash(await house.calls(job_id))
    job = await house.ended(job_id)
    release.set()
    assert (job["status"], job["attempt"]) == ("complete", 1)
    runs = {each.told["data"]["run"] for each in house.road.passed if each.kind == "export.started"}
    assert len(runs) == 2


async def test_of_a_preempted_call_s_runs_the_later_one_counts(house: House, source: bytes) -> None:
    release = house.road.hold(OUTPUT)
    job_id = await house.submitted(source)
    await house.road.came(OUTPUT)
    house.plane.fault_api.preempt(await house.calls(job_id))
    job = await house.ended(job_id)
    release.set()
    await house.road.answered(410)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert await house.job(job_id) == job


class Doubling(ModalRunner):
    """Spawns everything twice, as a request does whose answer was lost."""

    async def spawn(self, spec: AttemptSpec) -> str:
        await super().spawn(spec)
        return await super().spawn(spec)


async def test_a_call_that_was_spawned_twice_makes_one_export(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with housed(plane, data_dir, runner_of(plane, kind=Doubling)) as house:
        job_id = await house.submitted(source)
        job = await house.ended(job_id)
        await house.road.answered(410)
        assert (job["status"], job["attempt"]) == ("complete", 1)
        assert await house.job(job_id) == job


async def test_a_call_that_waits_can_be_cancelled_and_never_runs(house: House, source: bytes) -> None:
    house.plane.fault_api.set(Faults(hold_calls=True))
    job_id = await house.submitted(source)
    await house.calls(job_id)
    assert (await house.http.delete(f"/api/exports/{job_id}")).status_code == 202
    house.plane.fault_api.set(Faults())
    other = await house.submitted(source)  # gets the place that the first one had in line
    await house.seen(other, status="complete")
    assert (await house.job(job_id))["status"] == "cancelled"
    assert {each.told["data"]["job_id"] for each in house.road.passed if each.kind != OUTPUT} == {other}


async def test_a_run_can_be_cancelled_and_its_container_ends(house: House, source: bytes) -> None:
    house.road.hold(OUTPUT)
    job_id = await house.submitted(source)
    await house.road.came(OUTPUT)
    for _ in range(2):
        assert (await house.http.delete(f"/api/exports/{job_id}")).status_code == 202
    job = await house.ended(job_id)
    assert (job["status"], job["error"]) == ("cancelled", None)
    again = await house.http.post(f"/api/exports/{job_id}/retry")
    assert again.status_code == 202
    assert (await house.seen(job_id, status="complete"))["attempt"] == 2


async def test_an_export_that_has_ended_can_t_be_cancelled(house: House, source: bytes) -> None:
    job = await house.ended(await house.submitted(source))
    assert (await house.http.delete(f"/api/exports/{job['job_id']}")).status_code == 409
    assert await house.ended(job["job_id"]) == job


async def test_several_exports_run_side_by_side(house: House, source: bytes) -> None:
    jobs = [await house.submitted(source) for _ in range(3)]
    async with asyncio.TaskGroup() as waiting:
        for job_id in jobs:
            waiting.create_task(house.seen(job_id, status="complete"))
