"""Priority, scheduled start and time limits of an export, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.app_harness import AppHarness

pytestmark = pytest.mark.anyio


def days_from_now(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def post(app: AppHarness, **fields: Any) -> Any:
    app.put_object()
    return await app.client.post("/api/exports", json=app.export_body() | fields)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"priority": "urgent"}, id="unknown priority"),
        pytest.param({"priority": None}, id="no priority"),
        pytest.param({"not_before": "2030-01-01T00:00:00"}, id="time without a zone"),
        pytest.param({"not_before": "tomorrow"}, id="no time"),
        pytest.param({"not_before": days_from_now(31)}, id="too late a start"),
        pytest.param({"start_within_seconds": 0}, id="no time to start"),
        pytest.param({"start_within_seconds": "60"}, id="text"),
        pytest.param({"deadline_seconds": -1}, id="negative deadline"),
        pytest.param({"deadline_seconds": 31 * 86_400}, id="too late a deadline"),
        pytest.param({"deadline_seconds": True}, id="boolean"),
    ],
)
async def test_bad_schedules_are_refused_by_name(app: AppHarness, fields: dict[str, Any]) -> None:
    answer = await post(app, **fields)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == list(fields)


async def test_the_job_shows_its_priority_and_scheduled_start(app: AppHarness) -> None:
    start = days_from_now(29)
    job = (await post(app, priority="low", not_before=start)).json()
    assert (job["priority"], job["status"]) == ("low", "pending")
    assert datetime.fromisoformat(job["not_before"]) - datetime.fromisoformat(start) < timedelta(
        milliseconds=1
    )
    plain = (await post(app)).json()
    assert (plain["priority"], plain["not_before"]) == ("normal", None)


async def test_the_priority_can_change_while_the_export_waits(app: AppHarness) -> None:
    waiting = (await post(app, not_before=days_from_now(1))).json()
    path = f"/api/exports/{waiting['job_id']}"
    edited = (await app.client.patch(path, json={"priority": "high"})).json()
    assert (edited["priority"], edited["sequence"]) == ("high", waiting["sequence"] + 1)
    await app.client.delete(path)
    refused = await app.client.patch(path, json={"priority": "low"})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_started")
    assert (await app.client.patch(path, json={"name": "Goal"})).json()["priority"] == "high"


async def test_a_cancelled_schedule_starts_at_once_when_it_is_retried(app: AppHarness) -> None:
    job = (await post(app, not_before=days_from_now(1))).json()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    retried = (await app.client.post(f"/api/exports/{job['job_id']}/retry")).json()
    assert retried["not_before"] is None
    assert (await app.next_run()).spec.job_id == job["job_id"]


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.9999999Z"]
)
async def test_a_time_that_could_not_be_shown_in_utc_is_refused(app: AppHarness, moment: str) -> None:
    endpoint = await app.client.post("/api/webhooks", json={"kind": "listener"})
    assert endpoint.status_code == 201
    answers = [
        await post(app, not_before=moment),
        await app.client.post(
            "/api/keys", json={"name": "a", "scopes": ["usage:read"], "expires_at": moment}
        ),
        await app.client.get("/api/exports", params={"created_before": moment}),
        await app.client.post(f"/api/webhooks/{endpoint.json()['id']}/recover", json={"since": moment}),
        await app.client.post(
            "/api/webhooks/verify", json={"headers": {}, "body": "{}", "received_at": moment}
        ),
    ]
    assert [answer.status_code for answer in answers] == [422] * 5
    assert all("must be a time with its time zone" in answer.json()["detail"] for answer in answers)
