"""The API of exports: list, cancel, retry and acknowledge, and its error responses."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem


async def test_a_list_comes_in_pages_newest_first(app: AppHarness) -> None:
    ids = [(await app.submit_export())["job_id"] for _ in range(5)]
    seen: list[list[str]] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await app.client.get("/api/exports", params=query)).json()
        seen.append([job["job_id"] for job in page["exports"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


@pytest.mark.parametrize(
    "query", ["status=running", "type=x", "limit=0", "limit=201", "limit=x", "cursor=" + "x" * 65, "page=2"]
)
async def test_an_invalid_list_query_is_rejected(app: AppHarness, query: str) -> None:
    refusal = assert_problem(await app.client.get(f"/api/exports?{query}"), 422)
    assert refusal["errors"][0]["loc"][0] == "query"


async def test_lists_show_active_recent_and_unacknowledged_exports(app: AppHarness) -> None:
    ids = [(await app.submit_export())["job_id"] for _ in range(3)]
    run = await app.next_run()
    await run.report_failed()
    failed = run.spec.job_id
    await app.client.delete(f"/api/exports/{ids[2]}")

    async def list_ids(path: str) -> set[str]:
        return {job["job_id"] for job in (await app.client.get(path)).json()["exports"]}

    others = set(ids) - {failed, ids[2]}
    assert await list_ids("/api/exports/active") == others
    assert await list_ids("/api/exports/recent") == set(ids)
    assert await list_ids("/api/exports/recent?hours=0.000001") == others
    assert await list_ids("/api/exports/unacknowledged") == {failed, ids[2]}
    assert await list_ids("/api/exports?status=error") == {failed}
    answer = await app.client.post("/api/exports/acknowledge", json={"job_ids": [failed, *others, "x"]})
    assert [job["job_id"] for job in answer.json()["exports"]] == [failed]
    assert answer.json()["exports"][0]["acknowledged_at"] is not None
    assert await list_ids("/api/exports/unacknowledged") == {ids[2]}
    assert_problem(await app.client.get("/api/exports/recent?hours=nan"), 422)


async def test_a_cancel_ends_the_run_and_may_be_repeated(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    first = await app.client.delete(f"/api/exports/{job['job_id']}")
    again = await app.client.delete(f"/api/exports/{job['job_id']}")
    assert (first.status_code, first.json()["status"], first.json()["phase"]) == (202, "cancelled", "done")
    assert (again.status_code, again.json()) == (202, first.json())
    assert app.runner.cancelled == [run.spec.call_id]


async def test_a_finished_export_can_t_be_cancelled(app: AppHarness) -> None:
    await app.submit_export()
    run = await app.next_run()
    await run.report_failed()
    assert_problem(await app.client.delete(f"/api/exports/{run.spec.job_id}"), 409)


async def test_a_retry_is_a_new_attempt(app: AppHarness) -> None:
    await app.submit_export()
    run = await app.next_run()
    await run.report_progress(40)
    await run.report_failed()
    before = (await app.client.get(f"/api/exports/{run.spec.job_id}")).json()
    assert before["error"] == {"code": "no_video", "message": "The file holds no video."}
    again = await app.client.post(f"/api/exports/{run.spec.job_id}/retry")
    job = again.json()
    assert again.status_code == 202
    assert (job["status"], job["attempt"], job["progress"], job["error"]) == ("pending", 2, 0.0, None)
    assert job["sequence"] == before["sequence"] + 1
    assert (await app.next_run()).spec.attempt == 2


async def test_only_a_failed_or_cancelled_export_can_be_retried(app: AppHarness) -> None:
    job = await app.submit_export()
    assert_problem(await app.client.post(f"/api/exports/{job['job_id']}/retry"), 409)
    await app.complete_run(await app.next_run())
    assert_problem(await app.client.post(f"/api/exports/{job['job_id']}/retry"), 409)


async def test_a_timeline_lists_the_transitions(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    for progress in (10, 20, 30):
        await run.report_progress(progress)
    await app.complete_run(run)
    headers = {"accept": "application/json"}
    timeline = (await app.client.get(f"/api/exports/{job['job_id']}/events", headers=headers)).json()
    phases = [event["phase"] for event in timeline["events"]]
    assert phases == ["queued", "starting", "starting", "processing", "finalizing", "done"]
    assert [event["status"] for event in timeline["events"]][-1] == "complete"


EVERY_CALL = [
    ("GET", "/api/exports/{}"),
    ("DELETE", "/api/exports/{}"),
    ("POST", "/api/exports/{}/retry"),
    ("GET", "/api/exports/{}/download"),
    ("HEAD", "/api/exports/{}/download"),
    ("GET", "/api/exports/{}/events"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
@pytest.mark.parametrize("whose", ["another's", "unknown", "absurd"])
async def test_another_users_job_is_answered_like_an_unknown_one(
    multi_user_app: AppHarness, method: str, path: str, whose: str
) -> None:
    job = await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    before = await multi_user_app.fetch_row(job["job_id"])
    job_id = {"another's": job["job_id"], "unknown": job["job_id"][:-1] + "x", "absurd": "x" * 500}[whose]
    answer = await multi_user_app.client.request(method, path.format(job_id), headers=bearer("eve"))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    after = await multi_user_app.fetch_row(job["job_id"])
    assert (after["attempt"], after["status"]) == (before["attempt"], before["status"])


@pytest.mark.parametrize("path", ["", "/active", "/recent", "/unacknowledged"])
async def test_lists_contain_only_the_users_own_jobs(multi_user_app: AppHarness, path: str) -> None:
    await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    answer = await multi_user_app.client.get(f"/api/exports{path}", headers=bearer("eve"))
    assert answer.json()["exports"] == []


async def test_a_user_can_t_acknowledge_another_users_exports(multi_user_app: AppHarness) -> None:
    job = await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    await multi_user_app.client.delete(f"/api/exports/{job['job_id']}", headers=bearer("ada"))
    body = {"job_ids": [job["job_id"]]}
    answer = await multi_user_app.client.post("/api/exports/acknowledge", json=body, headers=bearer("eve"))
    assert answer.json() == {"exports": []}


async def test_another_users_object_can_t_be_exported(multi_user_app: AppHarness) -> None:
    multi_user_app.put_object(user="ada")
    for key in (SOURCE, f"../ada/{SOURCE}", f"ada/{SOURCE}"):
        body = multi_user_app.export_body(config={**FRAMING, "input_key": key})
        assert_problem(
            await multi_user_app.client.post("/api/exports", json=body, headers=bearer("eve")), 422
        )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/nowhere", 404),
        ("POST", "/api/exports/", 404),
        ("GET", "/api/webhooks/", 404),
        ("GET", "/healthz/", 404),
        ("PUT", "/api/exports", 405),
        ("PUT", "/api/exports/x", 405),
        ("GET", "/api/callbacks/x", 405),
    ],
)
async def test_errors_of_the_router_are_problems(
    app: AppHarness, method: str, path: str, status: int
) -> None:
    assert_problem(await app.client.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/readyz", "GET, HEAD, OPTIONS"),
        ("/api/exports", "GET, HEAD, OPTIONS, POST"),
        ("/api/webhooks/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ],
)
async def test_options_lists_the_methods_of_a_path(app: AppHarness, path: str, allowed: str) -> None:
    answer = await app.client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
    assert (await app.client.request("LOCK", path)).headers["allow"] == allowed
    assert (await app.client.options("/nothing")).status_code == 404


async def test_a_page_that_resolves_its_name_to_this_host_is_rejected(app: AppHarness) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "localhost@evil.example", ""):
        refused = assert_problem(await app.client.get("/api/exports", headers={"host": host}), 400)
        assert refused["type"] == "urn:framehook:problem:unknown_host"
        assert "PUBLIC_URL" in refused["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"])
async def test_every_local_name_of_the_host_is_accepted(app: AppHarness, host: str) -> None:
    assert (await app.client.get("/api/exports", headers={"host": host})).status_code == 200


async def test_the_host_of_the_public_url_is_accepted(settings: Settings, stack: AsyncExitStack) -> None:
    public = settings.model_copy(update={"public_url": "https://Video.example.org/"})
    app = await stack.enter_async_context(open_app(public, FakeRunner()))
    answer = await app.client.get("/api/exports", headers={"host": "video.example.org"})
    assert answer.status_code == 200


async def test_the_service_is_alive_and_ready(app: AppHarness) -> None:
    alive, ready = await app.client.get("/healthz"), await app.client.get("/readyz")
    assert (alive.status_code, ready.status_code) == (200, 200)
    assert {name: ready.json()[name] for name in ("database", "storage", "loops")} == {
        "database": "ok",
        "storage": "ok",
        "loops": "ok",
    }
    assert_problem(await app.client.get("/readyz?exclude=disk"), 422)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("GET", "/api/exports/a%00b", None, 404, id="in a job id"),
        pytest.param("GET", "/api/exports/a%ff%fe", None, 404, id="in a job id that is no text"),
        pytest.param("GET", "/api/exports/a%00b/events", None, 404, id="in a stream's job id"),
        pytest.param("GET", "/api/exports?cursor=%00", None, 422, id="in a cursor"),
        pytest.param("POST", "/api/exports/acknowledge", {"job_ids": ["\0"]}, 422, id="in a list"),
        pytest.param("POST", "/api/exports", {"project_id": "\0"}, 422, id="in a project"),
    ],
)
async def test_a_nul_character_is_rejected_before_it_reaches_a_database(
    app_on_any_database: AppHarness, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    user = "nul"
    app_on_any_database.put_object(user=user)
    whole = app_on_any_database.export_body() | body if path == "/api/exports" and body else body
    answer = await app_on_any_database.client.request(method, path, json=whole, headers=bearer(user))
    assert_problem(answer, status)
