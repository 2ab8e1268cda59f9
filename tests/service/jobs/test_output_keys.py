"""An output key belongs to one export: a file at it, or on its way to it, is never another's."""

import asyncio
import hashlib
import time
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from callbacks.envelope import EventType
from service.jobs import finalize_leases
from service.jobs.models import Job
from service.settings import Settings
from tests.conftest import open_empty_database
from tests.service.conftest import bearer
from tests.support import job_factory
from tests.support.app_harness import FRAMING, SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.problems import assert_problem
from tests.support.small_mp4 import make_video

KEY = "exports/final.mp4"
VIDEO = make_video(b"the exported video")
CHECKSUM = f"sha256:{hashlib.sha256(VIDEO).hexdigest()}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def app(request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack) -> AppHarness:
    url = request.getfixturevalue(f"{request.param}_url")
    await (await open_empty_database(url)).close()
    changed = settings.model_copy(update={"database_url": url})
    app = await stack.enter_async_context(open_app(changed, FakeRunner(slots=20)))
    app.put_object()
    return app


async def request_export(app: AppHarness, key: str | None = KEY, **more: object) -> httpx.Response:
    config = {"input_key": SOURCE, **FRAMING} | ({"output_key": key} if key else {})
    return await app.client.post("/api/exports", json={"type": "framing", "config": config}, **more)  # type: ignore[arg-type]


async def start_export(app: AppHarness, key: str | None = KEY) -> FakeRun:
    answer = await request_export(app, key)
    assert answer.status_code == 202, answer.text
    run = await app.next_run()
    assert run.spec.job_id == answer.json()["job_id"]
    await run.report_started()
    return run


async def act(app: AppHarness, run: FakeRun, method: str, action: str = "") -> httpx.Response:
    return await app.client.request(method, f"/api/exports/{run.spec.job_id}{action}")


async def acquire_finalize_lease(app: AppHarness, run: FakeRun, *, lease_seconds: float = 60) -> Job:
    """Lease the export as a finalizer that moves its output to its key."""
    claim = job_factory.build_change(EventType.COMPLETED, run.spec.job_id, 1, 9, now=time.time())
    report = msgspec.structs.replace(claim.report, call_id=run.spec.call_id)
    async with app.database.transaction() as session:
        job = await finalize_leases.acquire(
            session, report, "another", lease_seconds=lease_seconds, now=time.time()
        )
    assert job is not None
    return job


async def test_a_key_is_its_export_s_while_that_goes_on_and_once_it_is_complete(app: AppHarness) -> None:
    run = await start_export(app)
    first = assert_problem(await request_export(app), 409)
    assert first["type"] == "urn:framehook:problem:output_key_taken"
    assert run.spec.job_id in first["detail"]
    assert first["errors"][0]["loc"] == ["config", "output_key"]
    assert (await app.complete_run(run, VIDEO)).status_code == 200
    assert_problem(await request_export(app), 409)
    assert (await act(app, run, "GET", "/download")).content == VIDEO


async def test_a_key_that_was_given_unasked_is_its_export_s_too(app: AppHarness) -> None:
    run = await start_export(app, None)
    assert_problem(await request_export(app, f"exports/{run.spec.job_id}.mp4"), 409)


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_an_export_that_came_to_nothing_leaves_its_key(app: AppHarness, ending: str) -> None:
    run = await start_export(app)
    if ending == "failed":
        await run.report_failed()
    else:
        await act(app, run, "DELETE")
    later = await start_export(app)
    refused = assert_problem(await act(app, run, "POST", "/retry"), 409)
    assert refused["type"] == "urn:framehook:problem:output_key_taken"
    await act(app, later, "DELETE")
    assert (await act(app, run, "POST", "/retry")).status_code == 202


async def test_of_many_who_ask_at_once_one_gets_the_key(app: AppHarness) -> None:
    run = await start_export(app)
    await run.report_failed()
    answers = await asyncio.gather(
        *(request_export(app) for _ in range(6)), *(act(app, run, "POST", "/retry") for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 8


async def test_asking_again_with_the_same_idempotency_key_gets_the_same_export(app: AppHarness) -> None:
    headers = {"Idempotency-Key": "once"}
    answers = [await request_export(app, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


async def test_an_export_that_is_cancelled_while_it_is_put_in_its_place_keeps_the_key_until_that_ends(
    app: AppHarness,
) -> None:
    run = await start_export(app)
    job = await acquire_finalize_lease(app, run)
    assert (await act(app, run, "DELETE")).status_code == 202
    assert_problem(await request_export(app), 409)
    waiting = await act(app, run, "POST", "/retry")
    assert assert_problem(waiting, 409)["type"] == "urn:framehook:problem:still_ending"
    assert waiting.headers["retry-after"]
    async with app.database.transaction() as session:
        await finalize_leases.release(session, job.job_id, "another")
    assert (await act(app, run, "POST", "/retry")).status_code == 202


async def test_a_key_is_not_kept_for_one_who_died_putting_a_file_there(app: AppHarness) -> None:
    run = await start_export(app)
    await acquire_finalize_lease(app, run, lease_seconds=0)
    assert (await act(app, run, "DELETE")).status_code == 202
    assert (await request_export(app)).status_code == 202


async def test_a_file_that_comes_too_late_is_taken_away_and_its_key_is_free(app: AppHarness) -> None:
    run = await start_export(app)
    app.put_output(run, VIDEO)
    late = asyncio.create_task(run.report_completed(size=len(VIDEO), checksum=CHECKSUM))
    await act(app, run, "DELETE")
    assert (await late).status_code in (200, 410)
    row = await app.fetch_row(run.spec.job_id)
    if row["status"] == "cancelled":
        assert row["lease_until"] is None
        assert await app.state["storage"].find("local", KEY) is None
        assert (await request_export(app)).status_code == 202


async def test_the_same_file_of_a_later_export_is_not_taken_away_for_an_earlier_one(app: AppHarness) -> None:
    run = await start_export(app)
    job = await acquire_finalize_lease(app, run)
    await act(app, run, "DELETE")
    async with app.database.transaction() as session:
        await finalize_leases.release(session, job.job_id, "another")
    later = await start_export(app)
    app.put_output(later, VIDEO)
    assert (await later.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
    same = msgspec.structs.replace(job, output_checksum=CHECKSUM)
    await app.state["changes"].clean_up(same)
    assert (await act(app, later, "GET", "/download")).content == VIDEO


async def test_users_have_keys_of_their_own(users_settings: Settings) -> None:
    async with open_app(users_settings, FakeRunner()) as app:
        for user in ("ada", "eve"):
            app.put_object(user=user)
            assert (await request_export(app, headers=bearer(user))).status_code == 202


@pytest.mark.parametrize(
    "key", ["uploads/a/match.mp4", "exports", "exports/a.mp4/b.mp4", "exports/a.mp4/b/c.mp4", "out/a.mp4"]
)
async def test_a_key_where_no_file_can_or_may_come_to_lie_is_refused(app: AppHarness, key: str) -> None:
    app.put_object("exports/a.mp4")
    home = app.settings.data_dir / "objects" / "local"
    (home / "out").symlink_to(app.settings.data_dir)
    refused = assert_problem(await request_export(app, key), 422)
    assert refused["errors"][0]["loc"] == ["config", "output_key"]


async def test_an_export_whose_place_was_obstructed_since_fails_for_good(app: AppHarness) -> None:
    run = await start_export(app, "exports/a.mp4")
    app.put_object("exports/a.mp4/in/the/way.mp4")
    assert (await app.complete_run(run, VIDEO)).status_code == 200
    job = (await act(app, run, "GET")).json()
    assert (job["status"], job["error"]["code"]) == ("error", "output_key_obstructed")


async def test_another_file_in_its_place_is_not_taken_for_the_export_s(app: AppHarness) -> None:
    run = await start_export(app)
    await app.complete_run(run, VIDEO)
    app.put_object(KEY, b"another video")
    for method in ("GET", "HEAD"):
        answer = await act(app, run, method, "/download")
        assert answer.status_code == 410
    assert assert_problem(await act(app, run, "GET", "/download"), 410)["type"].endswith("output_replaced")
