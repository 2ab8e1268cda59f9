"""Exports whose pieces are made by containers of their own: joined, lost, cancelled, and run again."""

from pathlib import Path
from typing import Any

import modal
import pytest

from infra.modal_local import Faults
from tests.flows.on_modal.modal_harness import House
from tests.flows.on_modal.split_exports import SPLIT, assert_alike, at_work, piece_calls, scratch
from tests.gpu.chunks.chunk_comparison import ENDLESS
from tests.infra.modal_local.toy_app import open_client, wait_until

pytestmark = pytest.mark.anyio


async def downloaded(house: House, job_id: str, folder: Path) -> Path:
    answer = await house.http.get(f"/api/exports/{job_id}/download")
    path = folder / "downloaded.mp4"
    path.write_bytes(answer.content)
    return path


def stored(house: House) -> list[str]:
    """What lies in storage of attempts, uploads under way included."""
    objects = house.settings.data_dir / "objects"
    return [str(path) for path in objects.rglob("*") if ".attempts" in path.parts and path.is_file()]


async def test_pieces_are_made_by_several_containers_and_joined_to_the_same_film(
    house: House, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await house.submitted(long, **SPLIT, parallelism=3)
    await wait_until(lambda: len(at_work()) >= 2)
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_alike(await downloaded(house, job_id, tmp_path), whole)
    progress = [each.told["data"]["progress"] for each in house.road.passed if "data" in each.told]
    assert progress == sorted(progress)
    messages = {each.told["data"]["message"] for each in house.road.passed if "data" in each.told}
    assert any(message.startswith("Encoding in 3 pieces") for message in messages)
    timeline = await house.timeline(job_id)
    processing = next(each["seconds"] for each in timeline["phases"] if each["phase"] == "processing")
    assert timeline["gpu_seconds"] > processing  # those of the other containers are paid for, too
    assert (at_work(), stored(house)) == ({}, [])


async def test_a_piece_that_fails_ends_the_export_with_its_error(house: House, long: bytes) -> None:
    cut_off = long[: len(long) * 2 // 3]  # its index, at the beginning, tells of more than there is
    job_id = await house.submitted(cut_off, **SPLIT, parallelism=3)
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("error", 1, "source_truncated")
    await wait_until(lambda: not at_work())


async def test_a_piece_whose_container_crashes_is_made_again(
    house: House, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await house.submitted(long, **SPLIT, parallelism=3)
    await wait_until(lambda: bool(piece_calls(house.plane)) and len(at_work()) >= 2)
    house.plane.fault_api.crash(piece_calls(house.plane)[0])
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_alike(await downloaded(house, job_id, tmp_path), whole)


async def test_a_cancelled_export_leaves_no_piece_at_work_and_nothing_of_any(
    house: House, long: bytes
) -> None:
    job_id = await house.submitted(long, **ENDLESS)
    await wait_until(lambda: len(at_work()) == 3)
    assert (await house.http.delete(f"/api/exports/{job_id}")).status_code == 202
    await wait_until(lambda: not at_work() and not scratch(house.plane) and not piece_calls(house.plane))
    assert (await house.ended(job_id))["status"] == "cancelled"
    assert stored(house) == []


async def test_where_no_other_container_can_be_had_the_export_s_own_makes_all_pieces(
    house: House, long: bytes, whole: Path, tmp_path: Path
) -> None:
    release = house.road.hold("export.started")
    job_id = await house.submitted(long, **SPLIT, parallelism=2)
    await house.road.came("export.started")
    house.plane.fault_api.set(Faults(refuse_spawns="RESOURCE_EXHAUSTED"))
    release.set()
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_alike(await downloaded(house, job_id, tmp_path), whole)


async def test_an_export_that_is_interrupted_stops_its_pieces(house: House, long: bytes) -> None:
    job_id = await house.submitted(long, **ENDLESS)
    await wait_until(lambda: len(at_work()) == 3)
    async with open_client(house.plane) as client:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(await house.calls(job_id), client=client)
        await call.cancel.aio()  # as Modal does: an exception in the run
        await wait_until(lambda: not at_work() and not scratch(house.plane) and not piece_calls(house.plane))
    assert (await house.http.delete(f"/api/exports/{job_id}")).status_code == 202


async def test_of_a_preempted_export_the_second_run_s_pieces_count(
    house: House, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await house.submitted(long, **SPLIT, parallelism=3)
    await wait_until(lambda: len(at_work()) >= 2)
    house.plane.fault_api.preempt(await house.calls(job_id))
    job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_alike(await downloaded(house, job_id, tmp_path), whole)
    await wait_until(lambda: not at_work())
