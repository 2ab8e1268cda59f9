"""A purge whose process dies before the files are deleted, and one while the storage is out of order."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, update

from infra.storage import FolderStorage
from infra.storage.errors import StorageUnavailable
from infra.storage.signed import UrlSigner
from service.exports.erasure import RETRY_SECONDS, Eraser, ErasureObservers
from service.jobs.erasures import ERASURES, FIRST_SWEEP_SECONDS, Erasure
from service.webhooks.models import ATTEMPTS
from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import create_endpoint, wait_all_ended
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.live_server import ScriptedResponse, serve_script

pytestmark = pytest.mark.anyio
ADA = bearer("ada")


class BrokenStorage(FolderStorage):
    """The storage of the service, in which nothing can be deleted: it hangs, or fails if `error` is set."""

    def __init__(self, app: AppHarness, error: Exception | None = None) -> None:
        super().__init__(app.settings.data_dir, UrlSigner(app.settings.origin, b"key"))
        self.error = error
        self.reached = asyncio.Event()

    async def erase(self, _user_id: str, _key: str) -> None:
        self.reached.set()
        if self.error is None:
            await asyncio.Event().wait()
        else:
            raise self.error


def create_replica(app: AppHarness, storage: FolderStorage, clock: MovableClock) -> tuple[Eraser, list[str]]:
    """Return what erases on another replica, and the exports whose erasure its streams got."""
    published: list[str] = []

    def publish(erasure: Erasure) -> None:
        published.append(erasure.job_id)

    observers = ErasureObservers(publish, lambda: None)
    return Eraser(app.database, storage, app.runner, observers, clock=clock.clock), published


async def complete(app: AppHarness) -> dict[str, Any]:
    await app.submit_export(user="ada", json=app.export_body(), headers=ADA)
    run = await app.next_run()
    while (answer := await app.complete_run(run)).status_code == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert answer.status_code == 200
    job: dict[str, Any] = (await app.client.get(f"/api/exports/{run.spec.job_id}", headers=ADA)).json()
    return job


def is_stored(app: AppHarness, job: dict[str, Any]) -> bool:
    path = app.state["storage"].local_path("ada", job["output_key"])
    assert path is not None
    return path.exists()


async def count_sweeps(app: AppHarness, job: dict[str, Any]) -> int:
    async with app.database.reading() as session:
        return int(
            await session.scalar(select(ERASURES.c.sweeps).where(ERASURES.c.job_id == job["job_id"])) or 0
        )


async def sweep(app: AppHarness) -> None:
    await app.state["removal"].eraser.sweep_due()


async def test_another_replica_deletes_the_files_of_a_purge_that_was_killed(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await complete(app)
    storage = BrokenStorage(app)
    eraser, published = create_replica(app, storage, clock)
    purge = asyncio.create_task(eraser.purge("ada", job["job_id"]))
    await storage.reached.wait()
    purge.cancel()
    await asyncio.gather(purge, return_exceptions=True)
    assert (await app.client.get(f"/api/exports/{job['job_id']}", headers=ADA)).status_code == 410
    assert published == [job["job_id"]]
    await sweep(app)
    assert is_stored(app, job), "the request may still be deleting it"
    clock.step_seconds = FIRST_SWEEP_SECONDS + 1
    await sweep(app)
    assert not is_stored(app, job)
    assert await count_sweeps(app, job) == 1


async def test_a_purge_succeeds_while_the_storage_is_dead_and_the_file_goes_later(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await complete(app)
    eraser, published = create_replica(app, BrokenStorage(app, StorageUnavailable("It is down.")), clock)
    with serve_script(ScriptedResponse(204)) as receiver:
        app.client.headers.update(ADA)
        endpoint = await create_endpoint(app.client, receiver.url, events=["export.erased"])
        await eraser.purge("ada", job["job_id"])
        assert is_stored(app, job)
        await eraser.purge("ada", job["job_id"])
        clock.step_seconds = RETRY_SECONDS + 1
        await sweep(app)
        assert not is_stored(app, job)
        await wait_all_ended(app.client, endpoint, 1)
    assert len(receiver.requests) == 1
    assert published == [job["job_id"]]
    assert await count_sweeps(app, job) == 1


async def test_sweeps_do_not_wait_for_the_time_that_the_clock_has_shown_while_it_was_ahead(
    app: AppHarness, clock: MovableClock
) -> None:
    early, late = await complete(app), await complete(app)
    eraser, _ = create_replica(app, BrokenStorage(app, StorageUnavailable("It is down.")), clock)
    await eraser.purge("ada", early["job_id"])
    clock.step_seconds = 10_000
    assert await eraser.sweep_due() == 1  # fails, and is to be tried again
    await eraser.purge("ada", late["job_id"])
    await sweep(app)
    assert is_stored(app, early)
    assert is_stored(app, late)
    clock.step_seconds = 0
    await sweep(app)
    assert not is_stored(app, early)
    assert not is_stored(app, late)
    async with app.database.reading() as session:
        latest = await session.scalar(select(func.max(ERASURES.c.next_at)))
    assert latest < clock.clock.wall() + 60, "the second sweep comes as soon as after any purge"


async def test_an_attempt_that_a_death_has_cut_off_is_not_open_for_ever(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        app.client.headers.update(ADA)
        endpoint = await create_endpoint(app.client, receiver.url, events=["export.completed"])
        job = await complete(app)
        [delivery] = await wait_all_ended(app.client, endpoint, 1)
    is_of_delivery = ATTEMPTS.c.delivery_id == delivery["delivery_id"]
    async with app.database.transaction() as session:
        await session.execute(update(ATTEMPTS).where(is_of_delivery).values(seconds=None, status=None))
    assert (await app.client.delete(f"/api/exports/{job['job_id']}?purge=true")).status_code == 204
    async with app.database.reading() as session:
        codes = (await session.execute(select(ATTEMPTS.c.error_code).where(is_of_delivery))).scalars().all()
    assert codes == ["interrupted"]
