"""Exports on Modal while Modal, the app, the token or the way of the callbacks fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from callbacks.probe import ProbeTarget
from gpu.spec import AttemptSpec
from infra.modal_local import Faults, ModalLocal
from service.dispatch.runners.modal import RELEASE, ModalRunner
from service.doctor.examination import examine
from service.doctor.modal import examine_modal, post_from_modal
from service.settings import Inspection
from service.startup.findings import Level
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.conftest import deploy_app
from tests.flows.on_modal.modal_harness import ModalHarness, create_runner, open_harness, settings_for
from tests.support.live_server import MASTER

pytestmark = pytest.mark.anyio

OTHER_APP = """
import modal

app = modal.App("another")


@app.function()
def process_video(job_id, input_key):
    return {}
"""


async def readiness(harness: ModalHarness) -> tuple[int, str | None]:
    answer = await harness.http.get("/readyz")
    return answer.status_code, answer.json().get("runner_error", {}).get("code")


async def wait_for_reason(harness: ModalHarness, job_id: str) -> str:
    """Wait until the export says what it waits for and the service that it is not ready; return the reason."""
    async with asyncio.timeout(30):
        while True:
            job = await harness.job(job_id)
            assert (job["status"], job["error"]) == ("pending", None)
            reason = job["queue"]["limited_by"]
            if (await readiness(harness))[0] == 503 and reason is not None and "Modal" in reason:
                return str(reason)
            await asyncio.sleep(0.1)


async def test_with_all_callbacks_lost_the_call_s_own_value_tells(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_harness(plane, data_dir, silence_seconds=2) as harness:
        harness.proxy.dropped |= {"export.started", "export.progress", "export.completed"}
        job = await harness.wait_ended(await harness.submit(source))
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert job["gpu_seconds"] > 0
    assert {each.status for each in harness.proxy.forwarded if each.kind != OUTPUT} == {503}


async def test_a_failure_that_could_not_be_told_is_found_in_the_call_s_value(
    plane: ModalLocal, data_dir: Path
) -> None:
    async with open_harness(plane, data_dir, silence_seconds=2) as harness:
        harness.proxy.dropped |= {"export.started", "export.failed"}
        job = await harness.wait_ended(await harness.submit(b"this is no video"))
    assert (job["status"], job["error"]["code"]) == ("error", "source_unreadable")


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
async def test_while_modal_takes_no_calls_an_export_waits_and_loses_no_attempt(
    plane: ModalLocal, data_dir: Path, source: bytes, status: str
) -> None:
    plane.fault_api.set(Faults(refuse_spawns=status))
    async with open_harness(
        plane, data_dir, create_runner(plane, spawn_seconds=0.5), attempt_limit=1
    ) as harness:
        job_id = await harness.submit(source)
        waiting = await harness.wait_for(job_id, attempt=2)
        assert (waiting["status"], waiting["error"]) == ("pending", None)
        assert waiting["message"].endswith("Trying again.")
        plane.fault_api.set(Faults())
        assert (await harness.wait_ended(job_id))["status"] == "complete"


class ReportingRunner(ModalRunner):
    """Sets `gave_up` when a spawn has ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.gave_up = asyncio.Event()

    async def spawn(self, spec: AttemptSpec) -> str:
        try:
            return await super().spawn(spec)
        finally:
            self.gave_up.set()


async def test_a_spawn_whose_answer_is_late_spares_the_run_that_has_reported(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    runner = create_runner(plane, kind=ReportingRunner, spawn_seconds=3)
    assert isinstance(runner, ReportingRunner)
    async with open_harness(plane, data_dir, runner) as harness:
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=30))
        release = harness.proxy.hold(OUTPUT)
        job_id = await harness.submit(source)
        await harness.proxy.wait_arrived(OUTPUT)
        await asyncio.wait_for(runner.gave_up.wait(), 10)
        release.set()
        job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_a_revoked_token_is_told_on_the_export_and_to_the_operator(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    plane.fault_api.set(Faults(token_revoked=True))
    async with open_harness(plane, data_dir) as harness:
        reason = await wait_for_reason(harness, await harness.submit(source))
        assert reason == "Modal rejects the token, or none is set"
        assert await readiness(harness) == (503, "modal_unauthorized")


async def test_an_app_that_is_not_there_is_told_on_the_export_and_to_the_operator(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_harness(plane, data_dir, create_runner(plane, "nothing")) as harness:
        reason = await wait_for_reason(harness, await harness.submit(source))
        assert reason == "The Modal app 'nothing' is not deployed"
        assert await readiness(harness) == (503, "modal_app_missing")


async def test_an_app_that_takes_other_arguments_is_found_out_before_it_is_called(
    plane: ModalLocal, data_dir: Path, source: bytes, tmp_path: Path
) -> None:
    (tmp_path / "another.py").write_text(OTHER_APP)
    await deploy_app(plane, str(tmp_path / "another.py"))
    async with open_harness(plane, data_dir, create_runner(plane, "another")) as harness:
        reason = await wait_for_reason(harness, await harness.submit(source))
        assert reason == "The deployed Modal app does not fit this service"
        assert await readiness(harness) == (503, "function_mismatch")


async def test_a_service_that_can_start_runs_is_ready(harness: ModalHarness) -> None:
    assert await readiness(harness) == (200, None)


async def test_a_probe_from_a_container_reaches_the_service(plane: ModalLocal, harness: ModalHarness) -> None:
    findings = await examine(Inspection(harness.settings, (), frozenset()), None)
    failures = [finding for finding in findings if finding.level is Level.FAIL]
    assert failures == []
    checks = {finding.check: finding.message for finding in findings}
    assert f"release {RELEASE}" in checks["modal"]
    assert "takes signed reports" in checks["callbacks"]
    runner = create_runner(plane)
    elsewhere = harness.settings.model_copy(update={"callback_url": "http://127.0.0.1:1"})
    _, lost = await examine_modal(elsewhere, runner, MASTER.encode())
    assert (lost.level, "can't be reached from where runs are" in lost.message) == (Level.FAIL, True)
    await runner.close()


async def test_without_an_app_no_probe_is_tried(plane: ModalLocal, data_dir: Path) -> None:
    runner = create_runner(plane, "nothing")
    settings = settings_for(data_dir, 1)
    modal, callbacks = await examine_modal(settings, runner, MASTER.encode())
    assert (modal.level, "is not deployed" in modal.message) == (Level.FAIL, True)
    assert (callbacks.level, "not tried" in callbacks.message) == (Level.WARN, True)
    answer = await post_from_modal(
        runner, ProbeTarget.create("http://127.0.0.1:1", MASTER.encode(), "doctor-1")
    )
    assert "no container of the app could be asked" in answer.error
    await runner.close()
