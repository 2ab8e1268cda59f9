"""The service is killed at the worst moments, and started again; runs on Modal go on meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from infra.modal_local import Faults, ModalLocal
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.modal_harness import House, mortal
from tests.infra.modal_local.toy_app import wait_until

pytestmark = pytest.mark.anyio


def database(house: House) -> sqlite3.Connection:
    return sqlite3.connect(house.settings.data_dir / "framehook.db", isolation_level=None)


async def leased(house: House, job_id: str) -> None:
    """Wait until the dispatcher has taken the job on; no contract tells of that."""
    found = (
        "SELECT count(*) FROM export_jobs WHERE job_id = ? AND lease_until IS NOT NULL AND call_id IS NULL"
    )
    with closing(database(house)) as rows:
        await wait_until(lambda: bool(rows.execute(found, (job_id,)).fetchone()[0]))


async def test_killed_between_the_row_and_the_spawn_it_starts_another_attempt(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with mortal(plane, data_dir) as (house, service):
        plane.fault_api.set(Faults(spawn_delay_seconds=60))
        job_id = await house.submitted(source)
        await leased(house, job_id)
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 2)


async def test_killed_between_the_spawn_and_the_stored_call_it_makes_one_export(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with mortal(plane, data_dir) as (house, service):
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=60))
        release = house.road.hold("export.started")
        job_id = await house.submitted(source)
        await house.road.came("export.started")  # the call is there, and nobody knows its id
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        job = await house.ended(job_id)
        release.set()
        await house.road.answered(410)
        assert await house.job(job_id) == job
    assert (job["status"], job["attempt"]) == ("complete", 2)


async def test_a_run_that_reports_before_its_spawn_was_answered_is_kept_over_the_kill(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with mortal(plane, data_dir) as (house, service):
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=60))
        release = house.road.hold(OUTPUT)
        job_id = await house.submitted(source)
        await house.road.came(OUTPUT)
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        release.set()
        job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_killed_between_the_last_callback_and_its_commit_it_is_told_again(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with mortal(plane, data_dir) as (house, service):
        release = house.road.hold("export.completed")
        job_id = await house.submitted(source)
        await house.road.came("export.completed")
        with closing(database(house)) as writer:
            writer.execute("BEGIN IMMEDIATE")  # nothing that the service takes in can be committed now
            release.set()
            await house.road.sent("export.completed")
            await service.kill()
        await service.start()
        job = await house.ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_killed_while_a_run_is_at_work_it_goes_on_with_it(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with mortal(plane, data_dir) as (house, service):
        release = house.road.hold(OUTPUT)
        job_id = await house.submitted(source)
        await house.road.came(OUTPUT)
        call_id = await house.calls(job_id)
        await service.kill()
        await service.start()
        release.set()
        job = await house.ended(job_id)
    assert (job["status"], job["attempt"], job["call_id"]) == ("complete", 1, call_id)
