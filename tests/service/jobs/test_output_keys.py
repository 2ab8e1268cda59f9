"""An output key belongs to one export: nothing that is there, or on its way there, is ever another's."""

import asyncio
import hashlib
import time
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from callbacks.envelope import EventType
from service.jobs import leases
from service.jobs.models import Job
from service.settings import Settings
from tests.conftest import open_emptied
from tests.service.api.test_exports import problem
from tests.service.conftest import bearer
from tests.support import job_factory
from tests.support.app_harness import FRAMING, SOURCE, House, opened
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.small_mp4 import video_with

KEY = "exports/final.mp4"
VIDEO = video_with(b"the exported video")
CHECKSUM = f"sha256:{hashlib.sha256(VIDEO).hexdigest()}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, settings: Settings, stack: AsyncExitStack) -> House:
    url = request.getfixturevalue(f"{request.param}_url")
    await (await open_emptied(url)).close()
    changed = settings.model_copy(update={"database_url": url})
    house = await stack.enter_async_context(opened(changed, FakeRunner(places=20)))
    house.put()
    return house


async def asked(house: House, key: str | None = KEY, **more: object) -> httpx.Response:
    config = {"input_key": SOURCE, **FRAMING} | ({"output_key": key} if key else {})
    return await house.client.post("/api/exports", json={"type": "framing", "config": config}, **more)  # type: ignore[arg-type]


async def begun(house: House, key: str | None = KEY) -> FakeRun:
    answer = await asked(house, key)
    assert answer.status_code == 202, answer.text
    run = await house.run()
    assert run.spec.job_id == answer.json()["job_id"]
    await run.started()
    return run


async def act(house: House, run: FakeRun, method: str, action: str = "") -> httpx.Response:
    return await house.client.request(method, f"/api/exports/{run.spec.job_id}{action}")


async def putting(house: House, run: FakeRun, *, lease_seconds: float = 60) -> Job:
    """The export while somebody puts its output into its place."""
    claim = job_factory.change(EventType.COMPLETED, run.spec.job_id, 1, 9, now=time.time())
    report = msgspec.structs.replace(claim.report, call_id=run.spec.call_id)
    async with house.database.transaction() as session:
        job = await leases.finalize(session, report, lease_seconds=lease_seconds, now=time.time())
    assert job is not None
    return job


async def test_a_key_is_its_export_s_while_that_goes_on_and_once_it_is_complete(house: House) -> None:
    run = await begun(house)
    first = problem(await asked(house), 409)
    assert first["type"] == "urn:framehook:problem:output_key_taken"
    assert run.spec.job_id in first["detail"]
    assert first["errors"][0]["loc"] == ["config", "output_key"]
    assert (await house.completed(run, VIDEO)).status_code == 200
    problem(await asked(house), 409)
    assert (await act(house, run, "GET", "/download")).content == VIDEO


async def test_a_key_that_was_given_unasked_is_its_export_s_too(house: House) -> None:
    run = await begun(house, None)
    problem(await asked(house, f"exports/{run.spec.job_id}.mp4"), 409)


@pytest.mark.parametrize("ending", ["failed", "cancelled"])
async def test_an_export_that_came_to_nothing_leaves_its_key(house: House, ending: str) -> None:
    run = await begun(house)
    if ending == "failed":
        await run.failed()
    else:
        await act(house, run, "DELETE")
    later = await begun(house)
    refused = problem(await act(house, run, "POST", "/retry"), 409)
    assert refused["type"] == "urn:framehook:problem:output_key_taken"
    await act(house, later, "DELETE")
    assert (await act(house, run, "POST", "/retry")).status_code == 202


async def test_of_many_who_ask_at_once_one_gets_the_key(house: House) -> None:
    run = await begun(house)
    await run.failed()
    answers = await asyncio.gather(
        *(asked(house) for _ in range(6)), *(act(house, run, "POST", "/retry") for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 8


async def test_asking_again_with_the_same_idempotency_key_gets_the_same_export(house: House) -> None:
    headers = {"Idempotency-Key": "once"}
    answers = [await asked(house, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


async def test_an_export_that_is_cancelled_while_it_is_put_in_its_place_keeps_the_key_until_that_ends(
    house: House,
) -> None:
    run = await begun(house)
    job = await putting(house, run)
    assert (await act(house, run, "DELETE")).status_code == 202
    problem(await asked(house), 409)
    waiting = await act(house, run, "POST", "/retry")
    assert problem(waiting, 409)["type"] == "urn:framehook:problem:still_ending"
    assert waiting.headers["retry-after"]
    async with house.database.transaction() as session:
        await leases.let_go(session, job)
    assert (await act(house, run, "POST", "/retry")).status_code == 202


async def test_a_key_is_not_kept_for_one_who_died_putting_a_file_there(house: House) -> None:
    run = await begun(house)
    await putting(house, run, lease_seconds=0)
    assert (await act(house, run, "DELETE")).status_code == 202
    assert (await asked(house)).status_code == 202


async def test_a_file_that_comes_too_late_is_taken_away_and_its_key_is_free(house: House) -> None:
    run = await begun(house)
    house.put_output(run, VIDEO)
    late = asyncio.create_task(run.completed(size=len(VIDEO), checksum=CHECKSUM))
    await act(house, run, "DELETE")
    assert (await late).status_code in (200, 410)
    row = await house.row(run.spec.job_id)
    if row["status"] == "cancelled":
        assert row["lease_until"] is None
        assert await house.state["storage"].find("local", KEY) is None
        assert (await asked(house)).status_code == 202


async def test_the_same_file_of_a_later_export_is_not_taken_away_for_an_earlier_one(house: House) -> None:
    run = await begun(house)
    job = await putting(house, run)
    await act(house, run, "DELETE")
    async with house.database.transaction() as session:
        await leases.let_go(session, job)
    later = await begun(house)
    house.put_output(later, VIDEO)
    assert (await later.completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
    same = msgspec.structs.replace(job, output_checksum=CHECKSUM)
    await house.state["outcomes"].withdraw(same)
    assert (await act(house, later, "GET", "/download")).content == VIDEO


async def test_users_have_keys_of_their_own(users_settings: Settings) -> None:
    async with opened(users_settings, FakeRunner()) as house:
        for user in ("ada", "eve"):
            house.put(user=user)
            assert (await asked(house, headers=bearer(user))).status_code == 202


@pytest.mark.parametrize(
    "key", ["uploads/a/match.mp4", "exports", "exports/a.mp4/b.mp4", "exports/a.mp4/b/c.mp4", "out/a.mp4"]
)
async def test_a_key_where_no_file_can_or_may_come_to_lie_is_refused(house: House, key: str) -> None:
    house.put("exports/a.mp4")
    home = house.settings.data_dir / "objects" / "local"
    (home / "out").symlink_to(house.settings.data_dir)
    refused = problem(await asked(house, key), 422)
    assert refused["errors"][0]["loc"] == ["config", "output_key"]


async def test_an_export_whose_place_was_obstructed_since_fails_for_good(house: House) -> None:
    run = await begun(house, "exports/a.mp4")
    house.put("exports/a.mp4/in/the/way.mp4")
    assert (await house.completed(run, VIDEO)).status_code == 200
    job = (await act(house, run, "GET")).json()
    assert (job["status"], job["error"]["code"]) == ("error", "output_key_obstructed")


async def test_another_file_in_its_place_is_not_taken_for_the_export_s(house: House) -> None:
    run = await begun(house)
    await house.completed(run, VIDEO)
    house.put(KEY, b"another video")
    for method in ("GET", "HEAD"):
        answer = await act(house, run, method, "/download")
        assert answer.status_code == 410
    assert problem(await act(house, run, "GET", "/download"), 410)["type"].endswith("output_replaced")
