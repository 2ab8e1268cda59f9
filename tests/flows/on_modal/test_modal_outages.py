"""Exports on Modal while something is wrong with Modal, the app, the token, or the road back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gpu.spec import AttemptSpec
from infra.modal_local import Faults, ModalLocal
from service.dispatch.runners.modal import ModalRunner
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.conftest import deployed
from tests.flows.on_modal.modal_harness import House, housed, runner_of

pytestmark = pytest.mark.anyio

OTHER_APP = """
import modal

app = modal.App("another")


@app.function()
def process_video(job_id, input_key):
    return {}
"""


async def readiness(house: House) -> tuple[int, str | None]:
    answer = await house.http.get("/readyz")
    return answer.status_code, answer.json().get("runner_error", {}).get("code")


async def test_with_all_callbacks_lost_the_call_s_own_value_tells(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with housed(plane, data_dir, silence_seconds=2) as house:
        house.road.lost |= {"export.started", "export.progress", "export.completed"}
        job = await house.ended(await house.submitted(source))
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert job["gpu_seconds"] > 0
    assert {each.status for each in house.road.passed if each.kind != OUTPUT} == {503}


async def test_a_failure_that_could_not_be_told_is_found_in_the_call_s_value(
    plane: ModalLocal, data_dir: Path
) -> None:
    async with housed(plane, data_dir, silence_seconds=2) as house:
        house.road.lost |= {"export.started", "export.failed"}
        job = await house.ended(await house.submitted(b"this is no video"))
    assert (job["status"], job["error"]["code"]) == ("error", "source_unreadable")


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
async def test_while_modal_takes_no_calls_an_export_waits_and_loses_no_attempt(
    plane: ModalLocal, data_dir: Path, source: bytes, status: str
) -> None:
    plane.fault_api.set(Faults(refuse_spawns=status))
    async with housed(plane, data_dir, runner_of(plane, spawn_seconds=0.5), attempt_limit=1) as house:
        job_id = await house.submitted(source)
        waiting = await house.seen(job_id, attempt=2)
        assert (waiting["status"], waiting["error"]) == ("pending", None)
        assert waiting["message"].endswith("Trying again.")
        plane.fault_api.set(Faults())
        assert (await house.ended(job_id))["status"] == "complete"


class Impatient(ModalRunner):
    """Tells when it has given a spawn up."""

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
    runner = runner_of(plane, kind=Impatient, spawn_seconds=3)
    assert isinstance(runner, Impatient)
    async with housed(plane, data_dir, runner) as house:
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=30))
        release = house.road.hold(OUTPUT)
        job_id = await house.submitted(source)
        await house.road.came(OUTPUT)
        await asyncio.wait_for(runner.gave_up.wait(), 10)
        release.set()
        job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_a_revoked_token_is_told_on_the_export_and_to_the_operator(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    plane.fault_api.set(Faults(token_revoked=True))
    async with housed(plane, data_dir) as house:
        job = await house.ended(await house.submitted(source))
        assert (job["status"], job["error"]["code"]) == ("error", "modal_unauthorized")
        assert await readiness(house) == (503, "modal_unauthorized")


async def test_an_app_that_is_not_there_is_told_on_the_export_and_to_the_operator(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with housed(plane, data_dir, runner_of(plane, "nothing")) as house:
        job = await house.ended(await house.submitted(source))
        assert (job["status"], job["error"]["code"]) == ("error", "modal_app_missing")
        assert "framehook modal deploy" in job["error"]["message"]
        assert await readiness(house) == (503, "modal_app_missing")


async def test_an_app_that_takes_other_arguments_is_found_out_before_it_is_called(
    plane: ModalLocal, data_dir: Path, source: bytes, tmp_path: Path
) -> None:
    (tmp_path / "another.py").write_text(OTHER_APP)
    await deployed(plane, str(tmp_path / "another.py"))
    async with housed(plane, data_dir, runner_of(plane, "another")) as house:
        job = await house.ended(await house.submitted(source))
        assert (job["status"], job["error"]["code"]) == ("error", "function_mismatch")
        assert await readiness(house) == (503, "function_mismatch")


async def test_a_service_that_can_start_runs_is_ready(house: House) -> None:
    assert await readiness(house) == (200, None)
