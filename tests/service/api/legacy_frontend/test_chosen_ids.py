"""An export under an id that the client chose: it is usable everywhere, and posting it again changes nothing."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from starlette.routing import Route

from service.api.request_ids import RESERVED_IDS
from service.api.routes import ROUTES
from service.jobs.ids import EXPORT_ID_PATTERN, is_job_id, new_id
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio

CHOSEN = "export_1764460800000_k3j9x2m1q"
A_UUID = "0d1f3c1e-8a53-4b0e-9d55-1f0a7c1e2b3a"


@pytest.mark.parametrize("chosen", [CHOSEN, A_UUID, "x" * 8, "_" * 64, "-1234567"])
async def test_a_chosen_id_names_the_export_on_every_route(app: AppHarness, chosen: str) -> None:
    job = await app.submit_export(json=app.export_body(export_id=chosen))
    assert job["export_id"] == chosen
    assert is_job_id(job["job_id"])
    shown = await app.client.get(f"/api/exports/{chosen}")
    assert shown.json() == job
    timeline = await app.client.get(f"/api/exports/{chosen}/events", headers={"accept": "application/json"})
    assert timeline.status_code == 200
    assert_problem(await app.client.get(f"/api/exports/{chosen}/download"), 409)
    cancelled = await app.client.delete(f"/api/exports/{chosen}")
    assert (cancelled.status_code, cancelled.json()["job_id"]) == (202, job["job_id"])
    seen = await app.client.post("/api/exports/acknowledge", json=[chosen])
    assert [export["job_id"] for export in seen.json()["exports"]] == [job["job_id"]]
    retried = await app.client.post(f"/api/exports/{chosen}/retry")
    assert (retried.status_code, retried.json()["export_id"]) == (202, chosen)
    await app.complete_run(await _last_run(app))
    assert (await app.client.get(f"/api/exports/{chosen}/download")).status_code == 200
    assert (await app.client.post(f"/api/exports/{chosen}/download-url")).status_code == 200


async def _last_run(app: AppHarness) -> FakeRun:
    run = await app.next_run()
    while run.spec.attempt == 1:
        run = await app.next_run()
    return run


async def test_keys_of_storage_and_callbacks_keep_the_service_s_own_id(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(export_id=CHOSEN))
    run = await app.next_run()
    assert job["output_key"] == f"exports/{job['job_id']}.mp4"
    assert run.spec.job_id == job["job_id"]
    assert run.spec.callback is not None
    assert run.spec.callback.url.endswith(job["job_id"])


async def test_posting_the_same_request_again_answers_the_same_export(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(export_id=CHOSEN, project_id=7))
    await app.client.delete(f"/api/exports/{CHOSEN}")
    await app.state["storage"].delete("local", SOURCE)
    body = app.export_body(project_id=7, export_id=CHOSEN, webhook_url=None)
    reordered = dict(sorted(body.items(), reverse=True))
    again = await app.client.post("/api/exports", json=reordered)
    assert again.status_code == 202
    assert (again.json()["job_id"], again.json()["status"]) == (job["job_id"], "cancelled")
    assert again.headers["location"] == f"/api/exports/{job['job_id']}"
    assert len((await app.client.get("/api/exports")).json()["exports"]) == 1


@pytest.mark.parametrize("project", ["7", 8, None])
async def test_posting_another_request_under_a_used_id_is_rejected(
    app: AppHarness, project: str | int | None
) -> None:
    job = await app.submit_export(json=app.export_body(export_id=CHOSEN, project_id=7))
    body = app.export_body(export_id=CHOSEN, project_id=project)
    refusal = assert_problem(await app.client.post("/api/exports", json=body), 422)
    assert refusal["type"] == "urn:framehook:problem:export_id_taken"
    assert refusal["errors"][0]["loc"] == ["export_id"]
    assert [export["job_id"] for export in (await app.client.get("/api/exports")).json()["exports"]] == [
        job["job_id"]
    ]


async def test_users_choose_their_ids_independently(multi_user_app: AppHarness) -> None:
    body = multi_user_app.export_body(export_id=CHOSEN)
    ids = {}
    for user, project in (("ada", 1), ("bob", 2)):
        job = await multi_user_app.submit_export(
            user=user, headers=bearer(user), json=body | {"project_id": project}
        )
        ids[user] = job["job_id"]
    assert len(set(ids.values())) == 2
    for user, job_id in ids.items():
        shown = await multi_user_app.client.get(f"/api/exports/{CHOSEN}", headers=bearer(user))
        assert shown.json()["job_id"] == job_id
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/download")):
        answer = await multi_user_app.client.request(
            method, f"/api/exports/{CHOSEN}{path}", headers=bearer("eve")
        )
        assert_problem(answer, 404)
    seen = await multi_user_app.client.post("/api/exports/acknowledge", json=[CHOSEN], headers=bearer("eve"))
    assert seen.json() == {"exports": []}


async def test_no_chosen_id_can_be_an_id_of_the_service(multi_user_app: AppHarness) -> None:
    theirs = await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    multi_user_app.put_object(user="bob")
    own = await multi_user_app.submit_export(user="bob", headers=bearer("bob"))
    for job_id in (theirs["job_id"], own["job_id"], new_id(0.0)):
        body = multi_user_app.export_body(export_id=job_id)
        refusal = await multi_user_app.client.post("/api/exports", json=body, headers=bearer("bob"))
        assert assert_problem(refusal, 422)["errors"][0]["loc"] == ["export_id"]


async def test_no_chosen_id_is_hidden_by_a_fixed_path(app: AppHarness) -> None:
    app.put_object()
    paths = {route.path.removeprefix("/api/exports/") for route in ROUTES if isinstance(route, Route)}
    fixed = {path for path in paths if len(path) >= 8 and "/" not in path and "{" not in path}
    assert fixed <= RESERVED_IDS
    for export_id in RESERVED_IDS:
        answer = await app.client.post("/api/exports", json=app.export_body(export_id=export_id))
        assert "reserved" in assert_problem(answer, 422)["detail"]


async def test_an_idempotency_key_and_a_chosen_id_lead_to_one_export(app: AppHarness) -> None:
    body = app.export_body(export_id=CHOSEN)
    job = await app.submit_export(json=body, headers={"idempotency-key": "first"})
    for headers in ({"idempotency-key": "first"}, {"idempotency-key": "second"}, {}):
        again = await app.client.post("/api/exports", json=body, headers=headers)
        assert (again.status_code, again.json()["job_id"]) == (202, job["job_id"])
    other = app.export_body(export_id="another-export")
    refusal = await app.client.post("/api/exports", json=other, headers={"idempotency-key": "first"})
    assert "Idempotency-Key" in assert_problem(refusal, 422)["detail"]


async def test_an_export_with_its_own_webhook_shows_it_again(app: AppHarness) -> None:
    body = app.export_body(export_id=CHOSEN, webhook_url="https://93.184.216.34/x")
    app.put_object()
    answers = [await app.client.post("/api/exports", json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["webhook"]["secret"] == answers[1].json()["webhook"]["secret"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_requests_for_one_id_at_the_same_time_make_one_export(
    request: pytest.FixtureRequest, users_settings: Settings, stack: AsyncExitStack, database: str
) -> None:
    """On PostgreSQL two replicas get them."""
    url = request.getfixturevalue(f"{database}_url")
    settings = users_settings.model_copy(update={"database_url": url})
    apps = [
        await stack.enter_async_context(open_app(settings, FakeRunner()))
        for _ in range(2 if database == "postgresql" else 1)
    ]
    user = "one id at a time"
    for app in apps:
        app.put_object(user=user)
    bodies = [apps[0].export_body(export_id=CHOSEN, project_id=number) for number in (1, 1, 1, 2)]
    answers = await asyncio.gather(
        *(app.client.post("/api/exports", json=body, headers=bearer(user)) for body in bodies for app in apps)
    )
    accepted = {answer.json()["job_id"] for answer in answers if answer.status_code == 202}
    refused = {answer.json()["type"] for answer in answers if answer.status_code != 202}
    assert len(accepted) == 1
    assert refused == {"urn:framehook:problem:export_id_taken"}


async def test_the_pattern_of_chosen_ids_leaves_room_for_usual_generators() -> None:
    assert EXPORT_ID_PATTERN == r"^[A-Za-z0-9_-]{8,64}$"
    assert not is_job_id(A_UUID)
    assert is_job_id(new_id(1_764_460_800.0))
