"""Exports in chunks on several containers: concatenated, lost, cancelled and run again."""

from pathlib import Path
from typing import Any

import modal
import pytest

from infra.modal_local import Faults
from tests.flows.on_modal.modal_harness import ModalHarness
from tests.flows.on_modal.split_exports import SPLIT, assert_same_video, busy_containers, chunk_calls, scratch
from tests.gpu.chunks.chunk_comparison import ENDLESS
from tests.infra.modal_local.toy_app import open_client, wait_until

pytestmark = pytest.mark.anyio


async def download(harness: ModalHarness, job_id: str, folder: Path) -> Path:
    answer = await harness.http.get(f"/api/exports/{job_id}/download")
    path = folder / "downloaded.mp4"
    path.write_bytes(answer.content)
    return path


def attempt_files(harness: ModalHarness) -> list[str]:
    """List the files of attempts in storage, unfinished uploads included."""
    objects = harness.settings.data_dir / "objects"
    return [str(path) for path in objects.rglob("*") if ".attempts" in path.parts and path.is_file()]


async def test_pieces_are_made_by_several_containers_and_joined_to_the_same_film(
    harness: ModalHarness, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await harness.submit(long, **SPLIT, parallelism=3)
    await wait_until(lambda: len(busy_containers()) >= 2)
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_same_video(await download(harness, job_id, tmp_path), whole)
    progress = [each.body["data"]["progress"] for each in harness.proxy.forwarded if "data" in each.body]
    assert progress == sorted(progress)
    messages = {each.body["data"]["message"] for each in harness.proxy.forwarded if "data" in each.body}
    assert any(message.startswith("Encoding in 3 chunks") for message in messages)
    timeline = await harness.timeline(job_id)
    processing = next(each["seconds"] for each in timeline["phases"] if each["phase"] == "processing")
    assert timeline["gpu_seconds"] > processing  # the time of the other containers counts too
    assert (busy_containers(), attempt_files(harness)) == ({}, [])


async def test_a_piece_that_fails_ends_the_export_with_its_error(harness: ModalHarness, long: bytes) -> None:
    cut_off = long[: len(long) * 2 // 3]  # its index, at the beginning, lists more than the file contains
    job_id = await harness.submit(cut_off, **SPLIT, parallelism=3)
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("error", 1, "source_truncated")
    await wait_until(lambda: not busy_containers())


async def test_a_piece_whose_container_crashes_is_made_again(
    harness: ModalHarness, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await harness.submit(long, **SPLIT, parallelism=3)
    await wait_until(lambda: bool(chunk_calls(harness.plane)) and len(busy_containers()) >= 2)
    harness.plane.fault_api.crash(chunk_calls(harness.plane)[0])
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_same_video(await download(harness, job_id, tmp_path), whole)


async def test_a_cancelled_export_leaves_no_piece_at_work_and_nothing_of_any(
    harness: ModalHarness, long: bytes
) -> None:
    job_id = await harness.submit(long, **ENDLESS)
    await wait_until(lambda: len(busy_containers()) == 3)
    assert (await harness.http.delete(f"/api/exports/{job_id}")).status_code == 202
    await wait_until(
        lambda: not busy_containers() and not scratch(harness.plane) and not chunk_calls(harness.plane)
    )
    assert (await harness.wait_ended(job_id))["status"] == "cancelled"
    assert attempt_files(harness) == []


async def test_where_no_other_container_can_be_had_the_export_s_own_makes_all_pieces(
    harness: ModalHarness, long: bytes, whole: Path, tmp_path: Path
) -> None:
    release = harness.proxy.hold("export.started")
    job_id = await harness.submit(long, **SPLIT, parallelism=2)
    await harness.proxy.wait_arrived("export.started")
    harness.plane.fault_api.set(Faults(refuse_spawns="RESOURCE_EXHAUSTED"))
    release.set()
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_same_video(await download(harness, job_id, tmp_path), whole)


async def test_an_export_that_is_interrupted_stops_its_pieces(harness: ModalHarness, long: bytes) -> None:
    job_id = await harness.submit(long, **ENDLESS)
    await wait_until(lambda: len(busy_containers()) == 3)
    processes = {process for busy in busy_containers().values() for process in busy}
    calls, folders = set(chunk_calls(harness.plane)), set(scratch(harness.plane))
    async with open_client(harness.plane) as client:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(
            await harness.wait_call_id(job_id), client=client
        )
        await call.cancel.aio()  # as Modal does: an exception in the run
        # The service may start another attempt before that, so only what belongs to this one has to go.
        await wait_until(
            lambda: (
                processes.isdisjoint(process for busy in busy_containers().values() for process in busy)
                and calls.isdisjoint(chunk_calls(harness.plane))
                and folders.isdisjoint(scratch(harness.plane))
            )
        )
    assert (await harness.http.delete(f"/api/exports/{job_id}")).status_code == 202


async def test_of_a_preempted_export_the_second_run_s_pieces_count(
    harness: ModalHarness, long: bytes, whole: Path, tmp_path: Path
) -> None:
    job_id = await harness.submit(long, **SPLIT, parallelism=3)
    await wait_until(lambda: len(busy_containers()) >= 2)
    harness.plane.fault_api.preempt(await harness.wait_call_id(job_id))
    job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert_same_video(await download(harness, job_id, tmp_path), whole)
    await wait_until(lambda: not busy_containers())
