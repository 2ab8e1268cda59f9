"""`DELETE /api/exports/{id}?purge=true`, and what is left of an erased export."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import Table, select

from service.jobs.erasures import ERASURES, STUB_SECONDS
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.models import EVENTS, JOBS
from service.webhooks.models import ATTEMPTS, DELIVERIES
from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import create_endpoint, path, wait_all_ended
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun
from tests.support.live_server import ScriptedResponse, serve_script
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
ADA, BOB = bearer("ada"), bearer("bob")
FILE_NAME = "Birthday of Grandma"


async def submit(app: AppHarness, **fields: object) -> dict[str, Any]:
    return await app.submit_export(user="ada", json=app.export_body(**fields), headers=ADA)


async def complete(app: AppHarness, **fields: object) -> dict[str, Any]:
    """Submit an export, run it to its end, and return it."""
    await submit(app, **fields)
    run = await app.next_run()
    await finish(app, run)
    job: dict[str, Any] = (await app.client.get(f"/api/exports/{run.spec.job_id}", headers=ADA)).json()
    return job


async def finish(app: AppHarness, run: FakeRun) -> None:
    """Report completion, again if the service was just storing which call the run is."""
    while (answer := await app.complete_run(run)).status_code == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert answer.status_code == 200, answer.text


async def purge(app: AppHarness, job_id: str, headers: dict[str, str] = ADA) -> None:
    answer = await app.client.delete(f"/api/exports/{job_id}?purge=true", headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")


async def load_rows(app: AppHarness, table: Table) -> list[dict[str, Any]]:
    async with app.database.reading() as session:
        return [dict(row) for row in (await session.execute(select(table))).mappings()]


def output_of(app: AppHarness, job: dict[str, Any]) -> Any:
    return app.state["storage"].local_path("ada", job["output_key"])


async def test_a_purge_deletes_the_file_and_every_row_but_a_stub(app: AppHarness) -> None:
    job = await complete(app, project_id=FILE_NAME)
    assert output_of(app, job).is_file()
    await purge(app, job["job_id"])
    assert not output_of(app, job).exists()
    for table in (JOBS, EVENTS, IDEMPOTENCY_KEYS):
        assert await load_rows(app, table) == []
    [stub] = await load_rows(app, ERASURES)
    assert (stub["job_id"], stub["output_key"], stub["call_id"]) == (job["job_id"], None, None)
    assert FILE_NAME not in str(stub)


@pytest.mark.parametrize("suffix", ["", "/request", "/download", "/events"])
async def test_an_erased_export_is_gone_for_its_owner_and_unknown_to_others(
    app: AppHarness, suffix: str
) -> None:
    job = await complete(app)
    await purge(app, job["job_id"])
    url = f"/api/exports/{job['job_id']}{suffix}"
    assert assert_problem(await app.client.get(url, headers=ADA), 410)["code"] == "erased"
    assert_problem(await app.client.get(url, headers=BOB), 404)


async def test_an_erased_export_is_in_no_list_and_takes_no_order(app: AppHarness) -> None:
    job = await complete(app)
    await purge(app, job["job_id"])
    for name in ("", "/active", "/recent", "/unacknowledged"):
        assert (await app.client.get(f"/api/exports{name}", headers=ADA)).json()["exports"] == []
    assert_problem(await app.client.post(f"/api/exports/{job['job_id']}/retry", headers=ADA), 410)
    assert_problem(await app.client.delete(f"/api/exports/{job['job_id']}", headers=ADA), 410)
    edited = await app.client.patch(f"/api/exports/{job['job_id']}", json={"name": "a"}, headers=ADA)
    assert assert_problem(edited, 410)["code"] == "erased"
    assert_problem(await app.client.post(f"/api/exports/{job['job_id']}/download-url", headers=ADA), 410)


async def test_a_purge_may_be_repeated_for_thirty_days(app: AppHarness, clock: MovableClock) -> None:
    job = await complete(app)
    await purge(app, job["job_id"])
    await purge(app, job["job_id"])
    clock.step_seconds = STUB_SECONDS - 60
    await purge(app, job["job_id"])
    clock.step_seconds = STUB_SECONDS + 60
    url = f"/api/exports/{job['job_id']}"
    assert_problem(await app.client.get(url, headers=ADA), 404)
    assert_problem(await app.client.delete(f"{url}?purge=true", headers=ADA), 404)


async def test_others_cannot_purge_an_export(app: AppHarness) -> None:
    job = await complete(app)
    url = f"/api/exports/{job['job_id']}"
    assert_problem(await app.client.delete(f"{url}?purge=true", headers=BOB), 404)
    assert (await app.client.get(url, headers=ADA)).status_code == 200
    assert output_of(app, job).is_file()


async def test_a_chosen_id_names_the_erased_export_until_it_is_used_again(app: AppHarness) -> None:
    job = await complete(app, export_id="chosen-id-1")
    await purge(app, "chosen-id-1")
    assert_problem(await app.client.get("/api/exports/chosen-id-1", headers=ADA), 410)
    another = await submit(app, export_id="chosen-id-1")
    assert another["job_id"] != job["job_id"]
    assert (await app.client.get("/api/exports/chosen-id-1", headers=ADA)).json()["job_id"] == another[
        "job_id"
    ]


async def test_an_active_export_is_stopped_and_its_run_told_to_end(app: AppHarness) -> None:
    job = await submit(app)
    run = await app.next_run()
    await run.report_started()
    app.put_output(run, b"half of the export")
    await purge(app, job["job_id"])
    assert app.runner.cancelled == [run.spec.call_id]
    assert (await run.report_progress(50)).status_code == 404
    assert (await app.complete_run(run)).status_code == 404
    assert_problem(await app.client.get(f"/api/exports/{job['job_id']}", headers=ADA), 410)


async def test_what_a_run_writes_after_the_purge_is_swept(app: AppHarness, clock: MovableClock) -> None:
    await submit(app)
    run = await app.next_run()
    await run.report_started()
    await purge(app, run.spec.job_id)
    for age in (31, 5_000):
        app.put_output(run, b"written by a run that has not heard of it")
        clock.step_seconds = age
        assert await app.state["removal"].eraser.sweep_due() == 1
        assert list_stored(app, run) == []
    clock.step_seconds = 10_000
    assert await app.state["removal"].eraser.sweep_due() == 0


def list_stored(app: AppHarness, run: FakeRun) -> list[str]:
    home = app.settings.data_dir / "objects" / "ada" / ".attempts"
    return [file.name for file in home.rglob("*") if run.spec.job_id in str(file)]


async def test_the_bodies_of_deliveries_are_erased_and_their_record_stays(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(200, body=FILE_NAME.encode())) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url, headers=ADA)
        app.client.headers.update(ADA)
        job = await complete(app, project_id=FILE_NAME)
        before = await wait_all_ended(app.client, endpoint, 1)
        assert FILE_NAME in str(await load_rows(app, DELIVERIES))
        assert FILE_NAME in str(await load_rows(app, ATTEMPTS))
        await purge(app, job["job_id"])
        after = await wait_all_ended(app.client, endpoint, len(before) + 1)
    sent = [delivery for delivery in after if delivery["type"] != "export.erased"]
    assert [delivery["delivery_id"] for delivery in sent] == [delivery["delivery_id"] for delivery in before]
    assert FILE_NAME not in str(await load_rows(app, DELIVERIES))
    again = path(endpoint, f"deliveries/{sent[0]['delivery_id']}/redeliver")
    assert assert_problem(await app.client.post(again), 410)["code"] == "erased"


async def test_consumers_get_erased_as_the_last_event(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        app.client.headers.update(ADA)
        endpoint = await create_endpoint(app.client, receiver.url)
        body = app.export_body(webhook_url=f"{receiver.url}/own")
        job = await app.submit_export(user="ada", json=body)
        await finish(app, await app.next_run())
        await wait_all_ended(app.client, endpoint, 1)
        await purge(app, job["job_id"])
        await wait_all_ended(app.client, endpoint, 2)
        await wait_all_ended(app.client, job["webhook"], 2)
    events = [json.loads(request.body) for request in receiver.requests]
    erased = [event for event in events if event["type"] == "export.erased"]
    assert [event["type"] for event in events[-2:]] == ["export.erased", "export.erased"]
    for event in erased:
        assert set(event["data"]) == {"job_id", "erased_at"}
        assert event["data"]["job_id"] == job["job_id"]


async def test_a_delivery_that_waits_for_its_consumer_is_never_sent(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(503)) as receiver:
        app.client.headers.update(ADA)
        endpoint = await create_endpoint(app.client, receiver.url, events=["export.completed"])
        job = await complete(app)
        await _wait_for_requests(receiver.requests, 1)
        await purge(app, job["job_id"])
        [delivery] = await wait_all_ended(app.client, endpoint, 1)
    assert delivery["state"] == "superseded"


async def _wait_for_requests(requests: list[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(requests) < count:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_the_idempotency_key_of_an_erased_export_is_free(app: AppHarness) -> None:
    headers = ADA | {"idempotency-key": "once"}
    app.put_object(user="ada")
    first = (await app.client.post("/api/exports", json=app.export_body(), headers=headers)).json()
    await purge(app, first["job_id"])
    again = await app.client.post("/api/exports", json=app.export_body(), headers=headers)
    assert again.status_code == 202
    assert again.json()["job_id"] != first["job_id"]


async def test_an_output_key_is_free_after_the_purge_and_the_new_file_stays(
    app: AppHarness, clock: MovableClock
) -> None:
    config = {**app.export_body()["config"], "output_key": "films/best.mp4"}
    job = await complete(app, config=config)
    await purge(app, job["job_id"])
    assert not output_of(app, job).parent.exists()
    another = await complete(app, config=config)
    clock.step_seconds = 60
    await app.state["removal"].eraser.sweep_due()
    assert output_of(app, another).is_file()
