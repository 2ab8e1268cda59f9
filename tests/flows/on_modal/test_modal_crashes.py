"""The service is killed at critical moments and started again, while runs on Modal go on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from infra.modal_local import Faults, ModalLocal
from tests.flows.on_modal.callback_proxy import OUTPUT
from tests.flows.on_modal.modal_harness import ModalHarness, open_killable
from tests.infra.modal_local.toy_app import wait_until

pytestmark = pytest.mark.anyio


def database(harness: ModalHarness) -> sqlite3.Connection:
    return sqlite3.connect(harness.settings.data_dir / "framehook.db", isolation_level=None)


async def wait_leased(harness: ModalHarness, job_id: str) -> None:
    """Wait until the dispatcher has claimed the job, which only the database shows."""
    query = (
        "SELECT count(*) FROM export_jobs WHERE job_id = ? AND lease_until IS NOT NULL AND call_id IS NULL"
    )
    with closing(database(harness)) as rows:
        await wait_until(lambda: bool(rows.execute(query, (job_id,)).fetchone()[0]))


async def test_killed_between_the_row_and_the_spawn_it_starts_another_attempt(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_killable(plane, data_dir) as (harness, service):
        plane.fault_api.set(Faults(spawn_delay_seconds=60))
        job_id = await harness.submit(source)
        await wait_leased(harness, job_id)
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 2)


async def test_killed_between_the_spawn_and_the_stored_call_it_makes_one_export(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_killable(plane, data_dir) as (harness, service):
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=60))
        release = harness.proxy.hold("export.started")
        job_id = await harness.submit(source)
        await harness.proxy.wait_arrived("export.started")  # the call exists, but its id is not known
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        job = await harness.wait_ended(job_id)
        release.set()
        await harness.proxy.wait_answered(410)
        assert await harness.job(job_id) == job
    assert (job["status"], job["attempt"]) == ("complete", 2)


async def test_a_run_that_reports_before_its_spawn_was_answered_is_kept_over_the_kill(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_killable(plane, data_dir) as (harness, service):
        plane.fault_api.set(Faults(spawn_answer_delay_seconds=60))
        release = harness.proxy.hold(OUTPUT)
        job_id = await harness.submit(source)
        await harness.proxy.wait_arrived(OUTPUT)
        await service.kill()
        plane.fault_api.set(Faults())
        await service.start()
        release.set()
        job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_killed_between_the_last_callback_and_its_commit_it_is_told_again(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_killable(plane, data_dir) as (harness, service):
        release = harness.proxy.hold("export.completed")
        job_id = await harness.submit(source)
        await harness.proxy.wait_arrived("export.completed")
        with closing(database(harness)) as writer:
            writer.execute("BEGIN IMMEDIATE")  # the service can't commit now
            release.set()
            await harness.proxy.wait_forwarded("export.completed")
            await service.kill()
        await service.start()
        job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_killed_while_a_run_is_at_work_it_goes_on_with_it(
    plane: ModalLocal, data_dir: Path, source: bytes
) -> None:
    async with open_killable(plane, data_dir) as (harness, service):
        release = harness.proxy.hold(OUTPUT)
        job_id = await harness.submit(source)
        await harness.proxy.wait_arrived(OUTPUT)
        call_id = await harness.wait_call_id(job_id)
        await service.kill()
        await service.start()
        release.set()
        job = await harness.wait_ended(job_id)
    assert (job["status"], job["attempt"], job["call_id"]) == ("complete", 1, call_id)
