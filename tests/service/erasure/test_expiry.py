"""`expires_in_days` and OUTPUT_DAYS: the file goes, the export stays, and webhooks are sent before and after."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.settings import Settings
from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import create_endpoint, wait_all_ended
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
ADA = bearer("ada")
DAY = 86_400.0


async def complete(app: AppHarness, **fields: object) -> dict[str, Any]:
    await app.submit_export(user="ada", json=app.export_body(**fields), headers=ADA)
    run = await app.next_run()
    while (answer := await app.complete_run(run)).status_code == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert answer.status_code == 200
    return await get(app, run.spec.job_id)


async def get(app: AppHarness, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await app.client.get(f"/api/exports/{job_id}", headers=ADA)).json()
    return job


async def expire(app: AppHarness, clock: MovableClock, days: float) -> int:
    """Let so many days pass from now on, and do a round."""
    clock.passed_seconds = days * DAY
    expired: int = await app.state["removal"].expiry.expire_due()
    return expired


def is_stored(app: AppHarness, job: dict[str, Any]) -> bool:
    path = app.state["storage"].local_path("ada", job["output_key"])
    assert path is not None
    return path.exists()


async def test_a_file_is_announced_to_expire_and_then_deleted(app: AppHarness, clock: MovableClock) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        app.client.headers.update(ADA)
        endpoint = await create_endpoint(app.client, receiver.url, events=["export.expired"])
        job = await complete(app, expires_in_days=3)
        assert job["expires_at"] > job["created_at"]
        assert await expire(app, clock, 1.9) == 0
        assert await expire(app, clock, 2.1) == 0
        await wait_all_ended(app.client, endpoint, 1)
        assert is_stored(app, job)
        assert [await expire(app, clock, 3.1), await expire(app, clock, 3.2)] == [1, 0]
        await wait_all_ended(app.client, endpoint, 2)
    before, after = (json.loads(request.body) for request in receiver.requests)
    assert (before["type"], after["type"]) == ("export.expired", "export.expired")
    assert (before["data"]["output"] is not None, after["data"]["output"]) == (True, None)
    assert before["timestamp"] < before["data"]["expires_at"] < after["timestamp"]
    assert before["data"]["sequence"] < after["data"]["sequence"]
    assert not is_stored(app, job)


async def test_a_clock_that_is_set_ahead_deletes_nothing_for_an_hour(
    app: AppHarness, clock: MovableClock
) -> None:
    job = await complete(app, expires_in_days=1)
    expiry = app.state["removal"].expiry
    for days, passed_seconds, expired in (
        (2, 0, 0),
        (2, 3_599, 0),
        (0, 3_600, 0),
        (2, 3_601, 0),
        (2, 7_201, 1),
    ):
        clock.step_seconds, clock.passed_seconds = days * DAY, passed_seconds
        assert await expiry.expire_due() == expired
        assert is_stored(app, job) == (not expired)


async def test_an_expired_export_stays_without_its_file(app: AppHarness, clock: MovableClock) -> None:
    job = await complete(app, expires_in_days=1)
    await expire(app, clock, 1.1)
    shown = await get(app, job["job_id"])
    assert (shown["status"], shown["output"]) == ("complete", None)
    assert shown["sequence"] > job["sequence"]
    url = f"/api/exports/{job['job_id']}"
    assert assert_problem(await app.client.get(f"{url}/download", headers=ADA), 410)["code"] == "expired"
    refusal = await app.client.post(f"{url}/download-url", headers=ADA)
    assert assert_problem(refusal, 410)["code"] == "expired"
    assert (await app.client.delete(f"{url}?purge=true", headers=ADA)).status_code == 204
    assert assert_problem(await app.client.get(url, headers=ADA), 410)["code"] == "erased"


async def test_what_never_expires_is_kept_and_a_failed_export_is_left_alone(
    app: AppHarness, clock: MovableClock
) -> None:
    kept = await complete(app)
    await app.submit_export(user="ada", json=app.export_body(expires_in_days=1), headers=ADA)
    await (await app.next_run()).report_failed()
    assert await expire(app, clock, 400) == 0
    assert (kept["expires_at"], is_stored(app, kept)) == (None, True)


async def test_the_key_of_an_expired_file_is_free_and_the_new_file_stays(
    app: AppHarness, clock: MovableClock
) -> None:
    config = {**app.export_body()["config"], "output_key": "films/best.mp4"}
    await complete(app, config=config, expires_in_days=1)
    await expire(app, clock, 1.1)
    clock.passed_seconds = 0  # callbacks are signed by the clock of the machine
    another = await complete(app, config=config)
    clock.passed_seconds = 1.1 * DAY + 60
    await app.state["removal"].eraser.sweep_due()
    assert is_stored(app, another)


@pytest.mark.parametrize(("days", "expected"), [(None, 7), (3, 3), (30, 7)])
async def test_the_fewer_days_of_the_request_and_of_the_service_hold(
    any_settings: Settings, stack: AsyncExitStack, clock: MovableClock, days: int | None, expected: int
) -> None:
    settings = any_settings.model_copy(update={"output_days": 7.0})
    app = await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))
    job = await complete(app, expires_in_days=days)
    assert await expire(app, clock, expected - 0.1) == 0
    assert await expire(app, clock, expected + 0.1) == 1
    assert not is_stored(app, job)


@pytest.mark.parametrize("days", [0, -1, 1.5, 3_651, "7"])
async def test_other_numbers_of_days_are_refused(app: AppHarness, days: object) -> None:
    app.put_object(user="ada")
    answer = await app.client.post("/api/exports", json=app.export_body(expires_in_days=days), headers=ADA)
    assert assert_problem(answer, 422)["errors"][0]["loc"][0] == "expires_in_days"
