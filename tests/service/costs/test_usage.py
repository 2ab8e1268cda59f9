"""`GET /api/usage` sums up what ended, for users their own, and erasing leaves numbers without names."""

from typing import Any

import pytest
from sqlalchemy import select, text

from service.costs.days import day_of, to_date
from service.costs.usage import USAGE_DAYS, forget_user
from tests.service.conftest import bearer
from tests.service.costs.test_budgets import spend, start
from tests.support.app_harness import AppHarness
from tests.support.clocks import MovableClock
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio


async def usage(app: AppHarness, user: str = "ada", **query: str) -> dict[str, Any]:
    answer = await app.client.get("/api/usage", params=query, headers=bearer(user))
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def export(app: AppHarness, user: str, gpu_seconds: float, **fields: object) -> str:
    """Complete an export that took so long; its video lasts a second."""
    run = await start(app, user, **fields)
    assert await spend(run, gpu_seconds) == 200
    assert (await app.complete_run(run)).status_code == 200
    return run.spec.job_id


async def fail(app: AppHarness, user: str, gpu_seconds: float, **fields: object) -> str:
    run = await start(app, user, **fields)
    error = {"code": "broken", "message": "It broke."}
    assert (await run.send("export.failed", gpu_seconds=gpu_seconds, error=error)).status_code == 200
    return run.spec.job_id


async def test_users_see_their_own_and_operators_all(paid_app: AppHarness, clock: MovableClock) -> None:
    await export(paid_app, "ada", 10, project_id="cup")
    await fail(paid_app, "ada", 5, project_id=7)
    await fail(paid_app, "bob", 20)
    today = to_date(day_of(clock.clock.wall())).isoformat()
    own = await usage(paid_app)
    assert own["groups"] == [{"key": today, **own["total"]}]
    sums = {name: own["total"][name] for name in ("exports", "gpu_seconds", "cost_usd")}
    assert sums == {"exports": 2, "gpu_seconds": 15, "cost_usd": 0.15}
    assert own["total"]["output_seconds"] > 0
    by_project = await usage(paid_app, group_by="project")
    assert [(group["key"], group["cost_usd"]) for group in by_project["groups"]] == [
        ("cup", 0.1),
        ("7", 0.05),
    ]
    assert [group["key"] for group in (await usage(paid_app, group_by="user"))["groups"]] == ["ada"]
    everybody = await usage(paid_app, "olga", group_by="user")
    assert [(group["key"], group["cost_usd"]) for group in everybody["groups"]] == [
        ("bob", 0.2),
        ("ada", 0.15),
    ]
    [group] = (await usage(paid_app, "olga", group_by="type"))["groups"]
    assert (group["key"], group["exports"]) == ("framing", 3)
    past = await usage(paid_app, **{"from": "2020-01-01", "to": "2020-12-31"})
    assert (past["groups"], past["total"]["exports"]) == ([], 0)


async def test_a_retried_export_counts_once_and_its_attempts_all(paid_app: AppHarness) -> None:
    job_id = await fail(paid_app, "ada", 10)
    retried = await paid_app.client.post(f"/api/exports/{job_id}/retry", headers=bearer("ada"))
    assert retried.status_code == 202
    run = await paid_app.next_run()
    assert await spend(run, 4) == 200
    cancelled = await paid_app.client.delete(f"/api/exports/{job_id}", headers=bearer("ada"))
    assert cancelled.json()["cost_usd"] == 0.14
    total = (await usage(paid_app))["total"]
    assert (total["exports"], total["gpu_seconds"], total["cost_usd"]) == (1, 14, 0.14)


async def test_erasing_keeps_numbers_and_no_names(paid_app: AppHarness) -> None:
    first = await export(paid_app, "ada", 10, project_id="party")
    second = await fail(paid_app, "ada", 5, project_id="party")
    headers = bearer("ada")
    for job_id, projects in ((first, ["party"]), (second, [None])):
        erased = await paid_app.client.delete(f"/api/exports/{job_id}?purge=true", headers=headers)
        assert erased.status_code == 204
        groups = (await usage(paid_app, group_by="project"))["groups"]
        assert [(group["key"], group["exports"], group["cost_usd"]) for group in groups] == [
            (project, 2, 0.15) for project in projects
        ]
    await fail(paid_app, "ada", 5, project_id="cup")
    async with paid_app.database.transaction() as session:
        await forget_user(session, "ada")
    async with paid_app.database.reading() as session:
        rows = (await session.execute(select(USAGE_DAYS))).mappings().all()
    assert [(row["user_id"], row["project_id"], row["exports"]) for row in rows] == [("", "", 3)]
    [group] = (await usage(paid_app, "olga", group_by="user"))["groups"]
    assert (group["key"], group["cost_usd"]) == (None, 0.2)


async def test_seconds_without_a_price_are_told_apart(paid_app: AppHarness) -> None:
    run = await start(paid_app)
    async with paid_app.database.transaction() as session:
        await session.execute(text("UPDATE export_jobs SET usd_per_second = NULL"))
    assert await spend(run, 1_000) == 200, "no limit is known to be reached"
    job = (await paid_app.client.get(f"/api/exports/{run.spec.job_id}", headers=bearer("ada"))).json()
    assert (job["cost_usd"], job["gpu_seconds"]) == (None, 1_000)
    await run.report_failed()
    total = (await usage(paid_app))["total"]
    assert (total["cost_usd"], total["gpu_seconds"], total["unpriced_gpu_seconds"]) == (0, 1_000, 1_000)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"from": "2026-11-30", "to": "2026-11-01"}, id="the later day first"),
        pytest.param({"from": "2020-01-01", "to": "2021-06-01"}, id="too many days"),
        pytest.param({"group_by": "size"}, id="an unknown group"),
        pytest.param({"from": "yesterday"}, id="no date"),
        pytest.param({"first": "2026-11-30"}, id="an unknown parameter"),
    ],
)
async def test_a_period_that_makes_no_sense_is_refused(app: AppHarness, query: dict[str, str]) -> None:
    assert_problem(await app.client.get("/api/usage", params=query), 422)
