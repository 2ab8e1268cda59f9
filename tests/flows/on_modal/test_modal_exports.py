"""Exports on Modal, from the request to the file: the unmodified SDK, real containers, signed URLs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gpu.spec import AttemptSpec
from infra.modal_local import Faults, ModalLocal
from service.dispatch.runners.modal import ModalRunner
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.modal_harness import ModalHarness, create_runner, open_harness

pytestmark = pytest.mark.anyio


async def test_an_export_runs_on_modal_and_its_timeline_tells_of_every_phase(
    harness: ModalHarness, source: bytes
) -> None:
    job_id = await harness.submit(source)
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"], job["runner"]) == ("complete", 1, "modal")
    assert str(job["call_id"]).startswith("fc-")
    timeline = await harness.timeline(job_id)
    phases = [phase["phase"] for phase in timeline["phases"]]
    assert phases == [
        *("queued", "cold_start", "starting", "downloading", "processing", "uploading", "finalizing"),
    ]
    assert timeline["gpu_seconds"] > 0
    assert timeline["estimated_cost_usd"] == pytest.approx(timeline["gpu_seconds"] * 0.000222, abs=1e-5)


async def test_an_export_that_can_t_be_made_fails_with_its_code(harness: ModalHarness) -> None:
    job = await harness.wait_ended(await harness.submit(b"this is no video"))
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("error", 1, "source_unreadable")


async def test_a_container_that_crashes_is_followed_by_another(harness: ModalHarness, source: bytes) -> None:
    release = harness.proxy.hold(OUTPUT)
    job_id = await harness.submit(source)
    await harness.proxy.wait_arrived(OUTPUT)
    harness.plane.fault_api.crash(await harness.wait_call_id(job_id))
    job = await harness.wait_ended(job_id)
    release.set()
    assert (job["status"], job["attempt"]) == ("complete", 1)
    runs = {each.body["data"]["run"] for each in harness.proxy.forwarded if each.kind == "export.started"}
    assert len(runs) == 2


async def test_of_a_preempted_call_s_runs_the_later_one_counts(harness: ModalHarness, source: bytes) -> None:
    release = harness.proxy.hold(OUTPUT)
    job_id = await harness.submit(source)
    await harness.proxy.wait_arrived(OUTPUT)
    harness.plane.fault_api.preempt(await harness.wait_call_id(job_id))
    job = await harness.wait_ended(job_id)
    release.set()
    await harness.proxy.wait_answered(410)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert await harness.job(job_id) == job


class DoublingRunner(ModalRunner):
    """Spawns each call twice, like a request that is repeated because its response was lost."""

    async def spawn(self, spec: AttemptSpec) -> str:
        await super().spawn(spec)
        return await super().spawn(spec)


async def test_a_call_that_was_spawned_twice_makes_one_export(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_harness(plane, data_dir, create_runner(plane, kind=DoublingRunner)) as harness:
        job_id = await harness.submit(source)
        job = await harness.wait_ended(job_id)
        await harness.proxy.wait_answered(410)
        assert (job["status"], job["attempt"]) == ("complete", 1)
        assert await harness.job(job_id) == job


class LaterRunner(ModalRunner):
    """The runner of a later release: it says more than the functions that are deployed know."""

    def build_arguments(self, spec: AttemptSpec) -> dict[str, Any]:
        arguments = super().build_arguments(spec)
        transfer = arguments["transfer"]
        for part in (arguments["callback"], transfer, transfer["output"], *transfer["sources"].values()):
            part["later"] = {"known": False}
        return arguments


async def test_functions_of_an_earlier_release_ignore_what_a_later_service_adds(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_harness(plane, data_dir, create_runner(plane, kind=LaterRunner)) as harness:
        job = await harness.wait_ended(await harness.submit(source))
        assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_a_call_that_waits_can_be_cancelled_and_never_runs(
    harness: ModalHarness, source: bytes
) -> None:
    harness.plane.fault_api.set(Faults(hold_calls=True))
    job_id = await harness.submit(source)
    await harness.wait_call_id(job_id)
    assert (await harness.http.delete(f"/api/exports/{job_id}")).status_code == 202
    harness.plane.fault_api.set(Faults())
    other = await harness.submit(source)  # takes the turn of the first one
    await harness.wait_for(other, status="complete")
    assert (await harness.job(job_id))["status"] == "cancelled"
    assert {each.body["data"]["job_id"] for each in harness.proxy.forwarded if each.kind != OUTPUT} == {other}


async def test_a_run_can_be_cancelled_and_its_container_ends(harness: ModalHarness, source: bytes) -> None:
    harness.proxy.hold(OUTPUT)
    job_id = await harness.submit(source)
    await harness.proxy.wait_arrived(OUTPUT)
    for _ in range(2):
        assert (await harness.http.delete(f"/api/exports/{job_id}")).status_code == 202
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["error"]) == ("cancelled", None)
    again = await harness.http.post(f"/api/exports/{job_id}/retry")
    assert again.status_code == 202
    assert (await harness.wait_for(job_id, status="complete"))["attempt"] == 2


async def test_an_export_that_has_ended_can_t_be_cancelled(harness: ModalHarness, source: bytes) -> None:
    job = await harness.wait_ended(await harness.submit(source))
    assert (await harness.http.delete(f"/api/exports/{job['job_id']}")).status_code == 409
    assert await harness.wait_ended(job["job_id"]) == job


async def test_several_exports_run_side_by_side(harness: ModalHarness, source: bytes) -> None:
    jobs = [await harness.submit(source) for _ in range(3)]
    async with asyncio.TaskGroup() as waiting:
        for job_id in jobs:
            waiting.create_task(harness.wait_for(job_id, status="complete"))
