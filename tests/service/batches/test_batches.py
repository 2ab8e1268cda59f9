"""Batches over HTTP: all or none, once, followed and ended as one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.exports.erasure import Eraser
from service.jobs.batches.models import BATCHES
from service.jobs.batches.queries import list_completed
from service.settings import Settings, load_settings
from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, AppHarness
from tests.support.job_factory import fetch_jobs
from tests.support.problems import assert_problem

LATER = (datetime.now(UTC) + timedelta(days=20)).isoformat()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Room for a whole batch, and webhooks on this machine."""
    usual = settings.model_dump(exclude_unset=True)
    local = {"webhook_allow_http": True, "webhook_allowed_networks": "127.0.0.0/8"}
    return load_settings(**{**usual, **local, "max_queued_per_user": 1_100})


def bodies(app: AppHarness, count: int, **changes: Any) -> list[dict[str, Any]]:
    app.put_object()
    return [app.export_body(not_before=LATER, **changes) for _ in range(count)]


async def submit(app: AppHarness, count: int, **changes: Any) -> dict[str, Any]:
    response = await app.client.post("/api/batches", json={"exports": bodies(app, count, **changes)})
    assert response.status_code == 202, response.text
    batch: dict[str, Any] = response.json()
    return batch


async def test_a_thousand_exports_are_accepted_together(app: AppHarness) -> None:
    exports = [body | {"name": f"clip {index}"} for index, body in enumerate(bodies(app, 1_000))]
    content = {"name": "night", "metadata": {"order": 7}, "exports": exports}
    response = await app.client.post("/api/batches", json=content)
    batch = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/batches/{batch['batch_id']}"
    submitted = batch.pop("exports")
    assert (await app.client.get(response.headers["location"])).json() == batch
    assert (batch["name"], batch["metadata"], batch["total"]) == ("night", {"order": 7}, 1_000)
    assert (batch["counts"], batch["progress"], batch["completed_at"]) == ({"pending": 1_000}, 0.0, None)
    listed = await app.client.get("/api/exports", params={"batch_id": batch["batch_id"], "limit": 2})
    newest = listed.json()["exports"]
    assert [export["name"] for export in newest] == ["clip 999", "clip 998"]
    assert [export["job_id"] for export in newest] == [it["job_id"] for it in submitted[:-3:-1]]
    assert {export["batch_id"] for export in newest} == {batch["batch_id"]}


@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        pytest.param({"typ": 1}, ["exports", 17, "typ"], id="an unknown field"),
        pytest.param(
            {"config": {"input_key": "uploads/match.mp4", "keyframes": []}},
            ["exports", 17, "config", "keyframes"],
            id="a wrong config",
        ),
        pytest.param(
            {"config": {"input_key": "uploads/none.mp4", **FRAMING}},
            ["exports", 17, "config", "input_key"],
            id="a missing source",
        ),
        pytest.param({"not_before": "9999-01-01T00:00:00Z"}, ["exports", 17, "not_before"], id="too late"),
        pytest.param({"webhook_url": "http://10.0.0.1/"}, ["exports", 17, "webhook_url"], id="a blocked URL"),
        pytest.param({"export_id": "an-export-3"}, ["exports", 17, "export_id"], id="an id twice"),
    ],
)
async def test_one_wrong_export_is_named_and_none_is_stored(
    app: AppHarness, wrong: dict[str, Any], loc: list[str | int]
) -> None:
    exports = [body | {"export_id": f"an-export-{index}"} for index, body in enumerate(bodies(app, 20))]
    exports[17] |= wrong
    response = await app.client.post("/api/batches", json={"exports": exports})
    problem = response.json()
    assert response.status_code == 422, problem
    assert problem["errors"][0]["loc"] == loc
    assert problem["detail"].startswith("exports.17: ")
    assert await fetch_jobs(app.database) == {}
    assert (await app.client.get("/api/batches")).json() == {"batches": [], "next_cursor": None}


@pytest.mark.parametrize(
    "deep", ["[" * 100_000, '{"exports":' * 50_000, '{"exports":[' + "[" * 5_000 + "]" * 5_000 + "]}"]
)
async def test_a_body_that_is_nested_too_deep_is_invalid(app: AppHarness, deep: str) -> None:
    json_type = {"content-type": "application/json"}
    assert_problem(await app.client.post("/api/batches", content=deep, headers=json_type), 422)


async def test_an_output_key_is_taken_by_an_earlier_export_of_the_batch(app: AppHarness) -> None:
    exports = bodies(app, 3)
    for index in (0, 2):
        exports[index]["config"]["output_key"] = "out/same.mp4"
    response = await app.client.post("/api/batches", json={"exports": exports})
    assert response.json()["errors"][0]["loc"] == ["exports", 2, "config", "output_key"]
    assert assert_problem(response, 409)["code"] == "output_key_taken"
    assert await fetch_jobs(app.database) == {}


@pytest.mark.parametrize("exports", [[], {}, None, "many", [1]])
async def test_what_is_no_list_of_exports_is_rejected(app: AppHarness, exports: Any) -> None:
    assert (
        assert_problem(await app.client.post("/api/batches", json={"exports": exports}), 422)["code"]
        == "invalid"
    )


async def test_the_quota_counts_the_batch_as_a_whole(app: AppHarness) -> None:
    await submit(app, 600)
    response = await app.client.post("/api/batches", json={"exports": bodies(app, 501)})
    assert assert_problem(response, 429)["code"] == "quota_exceeded"
    assert len(await fetch_jobs(app.database)) == 600


async def test_a_repeated_request_is_the_same_batch(app: AppHarness) -> None:
    headers = {"idempotency-key": "night-1"}
    content = {"exports": bodies(app, 3, webhook_url="http://127.0.0.1:2/hook")}
    first = (await app.client.post("/api/batches", json=content, headers=headers)).json()
    second = (await app.client.post("/api/batches", json=content, headers=headers)).json()
    secrets = [export.pop("webhook")["secret"] for export in first["exports"]]
    assert second == first
    assert len(set(secrets)) == 3
    assert len(await fetch_jobs(app.database)) == 3
    other = await app.client.post("/api/batches", json=content | {"name": "x"}, headers=headers)
    assert assert_problem(other, 422)["code"] == "invalid"
    export = await app.client.post("/api/exports", json=content["exports"][0], headers=headers)
    assert assert_problem(export, 422)["code"] == "invalid"


async def test_batches_are_listed_newest_first_in_pages(app: AppHarness) -> None:
    ids = [(await submit(app, 1))["batch_id"] for _ in range(3)]
    ids.sort(reverse=True)
    page = (await app.client.get("/api/batches", params={"limit": 2})).json()
    assert [batch["batch_id"] for batch in page["batches"]] == ids[:2]
    rest = (await app.client.get("/api/batches", params={"cursor": page["next_cursor"]})).json()
    assert [batch["batch_id"] for batch in rest["batches"]] == ids[2:]
    assert rest["next_cursor"] is None


async def test_a_cancelled_batch_is_complete_and_its_run_is_stopped(app: AppHarness) -> None:
    app.put_object()
    content = {"exports": [app.export_body(), *bodies(app, 2)]}
    batch = (await app.client.post("/api/batches", json=content)).json()
    run = await app.next_run()
    await run.report_started()
    path = f"/api/batches/{batch['batch_id']}"
    cancelled = await app.client.delete(path)
    assert cancelled.status_code == 202
    assert cancelled.json()["counts"] == {"cancelled": 3}
    assert cancelled.json()["progress"] == 100.0
    assert cancelled.json()["completed_at"] is not None
    assert app.runner.cancelled == [app.runner.call_id_for(run.spec.job_id, 1)]
    assert (await app.client.delete(path)).json() == cancelled.json()


async def test_a_purged_batch_is_gone_with_its_exports(app: AppHarness) -> None:
    headers = {"idempotency-key": "night-2"}
    content = {"name": "secret name", "exports": bodies(app, 12)}
    batch = (await app.client.post("/api/batches", json=content, headers=headers)).json()
    path = f"/api/batches/{batch['batch_id']}"
    assert (await app.client.delete(path, params={"purge": "true"})).status_code == 204
    assert await fetch_jobs(app.database) == {}
    problem = assert_problem(await app.client.get(path), 410)
    assert (problem["code"], problem["title"]) == ("erased", "The resource was erased.")
    assert problem["detail"] == "The batch was erased."
    for export in batch["exports"]:
        assert (
            assert_problem(await app.client.get(f"/api/exports/{export['job_id']}"), 410)["code"] == "erased"
        )
    assert (await app.client.delete(path, params={"purge": "true"})).status_code == 204
    again = await app.client.post("/api/batches", json=content, headers=headers)
    assert again.json()["batch_id"] != batch["batch_id"]


async def test_a_purge_that_is_interrupted_does_not_complete_the_batch(
    app: AppHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise RuntimeError("killed")

    batch = (await app.client.post("/api/batches", json={"exports": bodies(app, 2)})).json()
    path = f"/api/batches/{batch['batch_id']}"
    with monkeypatch.context() as patched:
        patched.setattr(Eraser, "purge_all", die)
        with pytest.raises(RuntimeError, match="killed"):
            await app.client.delete(path, params={"purge": "true"})
    async with app.database.reading() as session:
        assert await list_completed(session, BATCHES.c.batch_id == batch["batch_id"]) == []
    assert (await app.client.get(path)).json()["completed_at"] is None
    assert (await app.client.delete(path, params={"purge": "true"})).status_code == 204


async def test_a_batch_of_another_user_does_not_exist(multi_user_app: AppHarness) -> None:
    app = multi_user_app
    app.put_object(user="ada")
    content = {"exports": [app.export_body(not_before=LATER)]}
    response = await app.client.post("/api/batches", json=content, headers=bearer("ada"))
    path = response.headers["location"]
    for method, query in (("GET", ""), ("DELETE", ""), ("DELETE", "?purge=true")):
        assert_problem(await app.client.request(method, path + query, headers=bearer("bob")), 404)
    assert (await app.client.get(path, headers=bearer("ada"))).json()["counts"] == {"pending": 1}
    listed = await app.client.get("/api/batches", headers=bearer("bob"))
    assert listed.json()["batches"] == []


async def change(app: AppHarness, what: str, **selection: Any) -> tuple[int, int]:
    """Cancel or retry what is selected; return how many exports matched and were changed."""
    response = await app.client.post(f"/api/exports/{what}", json=selection)
    assert response.status_code == 200, response.text
    assert response.json()["next_cursor"] is None
    return response.json()["matched"], response.json()["changed"]


async def test_a_filter_cancels_and_retries_what_it_shows_and_nothing_else(app: AppHarness) -> None:
    first = await submit(app, 4, project_id=1, metadata={"order": 1})
    second = await submit(app, 4, project_id=2, metadata={"order": 1})
    ids = [export["job_id"] for export in second["exports"]]
    assert await change(app, "cancel", project_id=1, metadata={"order": 2}) == (0, 0)
    assert await change(app, "cancel", batch_id=first["batch_id"]) == (4, 4)
    assert await change(app, "cancel", metadata={"order": 1}, status=["processing"]) == (0, 0)
    assert await change(app, "cancel", ids=[*ids[:2], "unknown"]) == (2, 2)
    assert await change(app, "retry", project_id=2) == (2, 2)
    assert await change(app, "retry", status=["complete"], project_id=1) == (0, 0)
    statuses = [row["status"] for row in (await fetch_jobs(app.database)).values()]
    assert (statuses.count("cancelled"), statuses.count("pending")) == (4, 4)
    assert (await app.client.get(f"/api/batches/{first['batch_id']}")).json()["counts"] == {"cancelled": 4}


@pytest.mark.parametrize(
    "selection", [{}, {"ids": []}, {"ids": ["a"], "status": ["error"]}, {"metadata": {}}, {"statu": "error"}]
)
async def test_a_change_of_everything_is_rejected(app: AppHarness, selection: dict[str, Any]) -> None:
    for what in ("cancel", "retry"):
        assert_problem(await app.client.post(f"/api/exports/{what}", json=selection), 422)


async def test_a_long_selection_goes_on_at_its_cursor_and_a_quota_ends_it(app: AppHarness) -> None:
    batch = await submit(app, 150)
    await app.client.delete(f"/api/batches/{batch['batch_id']}")
    selection: dict[str, Any] = {"batch_id": batch["batch_id"]}
    first = (await app.client.post("/api/exports/retry", json=selection)).json()
    assert (first["matched"], first["changed"]) == (100, 100)
    assert await change(app, "retry", **selection, cursor=first["next_cursor"]) == (50, 50)
    await app.client.delete(f"/api/batches/{batch['batch_id']}")
    await submit(app, 1_000)
    await submit(app, 90)
    partly = (await app.client.post("/api/exports/retry", json=selection)).json()
    assert (partly["matched"], partly["changed"]) == (10, 10)
    rest = await app.client.post("/api/exports/retry", json=selection | {"cursor": partly["next_cursor"]})
    assert assert_problem(rest, 429)["code"] == "quota_exceeded"


async def test_a_batch_costs_what_its_exports_cost_if_that_is_known(app: AppHarness) -> None:
    batch = await submit(app, 2)
    path = f"/api/batches/{batch['batch_id']}"
    assert (await app.client.get(path)).json()["cost_usd"] == 0.0
    async with app.database.transaction() as session:
        await session.execute(text("UPDATE export_jobs SET cost_usd = 0.25"))
    assert (await app.client.get(path)).json()["cost_usd"] == 0.5
    last = {"job_id": batch["exports"][1]["job_id"]}
    async with app.database.transaction() as session:
        await session.execute(text("UPDATE export_jobs SET cost_usd = NULL WHERE job_id = :job_id"), last)
    assert (await app.client.get(path)).json()["cost_usd"] is None
