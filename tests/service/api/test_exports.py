"""Exports over REST: every call of the contract, and what it answers when it can't."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRunner

JOB_FIELDS = {
    *(
        "job_id",
        "type",
        "status",
        "phase",
        "progress",
        "message",
        "error",
        "project_id",
        "attempt",
        "sequence",
    ),
    *("input_key", "output_key", "output", "created_at", "started_at", "completed_at", "acknowledged_at"),
    *("eta_seconds", "gpu_seconds", "runner", "call_id"),
}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The body of a refusal, which has the shape of RFC 9457 and tells nothing of the inside."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (
        {"type", "title", "status", "detail", "instance"}
        <= set(body)
        <= {*("type", "title", "status", "detail", "instance", "errors")}
    )
    assert body["status"] == status
    assert body["instance"] == answer.request.url.path
    for error in body.get("errors", []):
        assert set(error) == {"loc", "msg"}
    assert "/var" not in answer.text
    assert "Traceback" not in answer.text
    return body


async def test_an_export_is_accepted_and_found_where_the_answer_says(app: AppHarness) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(project_id="spring"))
    job = answer.json()
    assert answer.status_code == 202
    assert set(job) == JOB_FIELDS
    assert answer.headers["location"] == f"/api/exports/{job['job_id']}"
    found = await app.client.get(answer.headers["location"])
    assert found.status_code == 200
    assert found.headers["cache-control"] == "no-store"
    assert (job["status"], job["phase"], job["sequence"], job["attempt"]) == ("pending", "queued", 1, 1)
    assert (job["project_id"], job["input_key"]) == ("spring", SOURCE)
    assert job["output_key"] == f"exports/{job['job_id']}.mp4"
    assert job["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"surprise": 1}, ["surprise"], id="an unknown field"),
        pytest.param({"type": "montage"}, ["type"], id="an unknown type"),
        pytest.param({"type": None}, ["type"], id="no type"),
        pytest.param({"config": None}, ["config"], id="no config"),
        pytest.param({"config": []}, ["config"], id="a list for a config"),
        pytest.param({"config": {"input_key": SOURCE}}, ["config", "keyframes"], id="no keyframes"),
        pytest.param(
            {"config": {**FRAMING, "input_key": "nothing"}}, ["config", "input_key"], id="no source"
        ),
        pytest.param(
            {"config": {**FRAMING, "input_key": SOURCE, "zoom": 2}},
            ["config", "zoom"],
            id="an unknown setting",
        ),
        pytest.param({"project_id": "x" * 201}, ["project_id"], id="a long project"),
        *(
            pytest.param(
                {"config": {**FRAMING, "input_key": key}}, ["config", "input_key"], id=f"the key {key[:20]!r}"
            )
            for key in (
                "",
                "/etc/passwd",
                "../bob/x",
                "a/../b",
                "a//b",
                "a\x00b",
                "a\nb",
                ".hidden",
                "a\\b",
                "%2e",
            )
        ),
        pytest.param(
            {"config": {**FRAMING, "input_key": SOURCE, "output_key": "../x.mp4"}},
            ["config", "output_key"],
            id="an output elsewhere",
        ),
        pytest.param(
            {"config": {**FRAMING, "input_key": SOURCE, "output_key": f"{'x' * 300}.mp4"}},
            ["config", "output_key"],
            id="an output that no file system could name",
        ),
        pytest.param(
            {"config": {**FRAMING, "input_key": SOURCE, "output_key": SOURCE}},
            ["config"],
            id="over its source",
        ),
        pytest.param(
            {
                "config": {
                    "input_key": SOURCE,
                    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": 0, "height": 9}],
                }
            },
            ["config", "keyframes", 0, "width"],
            id="a crop of no width",
        ),
    ],
)
async def test_what_can_t_be_exported_is_refused_where_it_is_wrong(
    app: AppHarness, changes: dict[str, object], where: list[str | int]
) -> None:
    app.put_object()
    body = {name: value for name, value in (app.export_body() | changes).items() if value is not None}
    told = problem(await app.client.post("/api/exports", json=body), 422)
    assert [error["loc"] for error in told["errors"]] == [where]
    assert (await app.client.get("/api/exports")).json()["exports"] == []


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        pytest.param(b"{", "application/json", 422, id="half a body"),
        pytest.param(b"", "application/json", 422, id="no body"),
        pytest.param(b"\xff", "application/json", 422, id="no text"),
        pytest.param(b"[" * 100_000, "application/json", 422, id="very deep"),
        pytest.param(b"{}", "text/plain", 415, id="not called JSON"),
        pytest.param(b"{}", "application/x-www-form-urlencoded", 415, id="a form"),
        pytest.param(b" " * (2 * 2**20 + 1), "application/json", 413, id="too large"),
    ],
)
async def test_a_body_that_is_none_is_refused(
    app: AppHarness, content: bytes, kind: str, status: int
) -> None:
    answer = await app.client.post("/api/exports", content=content, headers={"content-type": kind})
    problem(answer, status)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keyframe = st.fixed_dictionaries(dict.fromkeys(("time", "x", "y", "width", "height"), json_values))


@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    type_=st.sampled_from(["framing", "overlay", "annotate"]),
    config=st.dictionaries(
        st.sampled_from(
            ["input_key", "output_key", "fps", "keyframes", "trim", "segments", "clips", "quality"]
        ),
        json_values | st.lists(keyframe, max_size=2),
    ),
)
@hypothesis.example(type_="framing", config={"fps": 10**400})
@hypothesis.example(type_="framing", config={"input_key": "\ud800"})
@hypothesis.example(type_="annotate", config={"clips": [{"start_time": float("nan")}], "input_key": SOURCE})
async def test_no_configuration_makes_it_fail(app: AppHarness, type_: str, config: dict[str, Any]) -> None:
    app.put_object()
    content = json.dumps({"type": type_, "config": config}).encode()
    headers = {"content-type": "application/json"}
    answer = await app.client.post("/api/exports", content=content, headers=headers)
    assert answer.status_code in (202, 422, 429)


async def test_the_same_key_and_body_give_the_same_job(app: AppHarness) -> None:
    headers = {"idempotency-key": "once"}
    first = await app.submit_export(headers=headers)
    run = await app.next_run()
    await run.report_started()
    again = await app.client.post("/api/exports", json=app.export_body(), headers=headers)
    assert again.status_code == 202
    assert again.json()["job_id"] == first["job_id"]
    assert again.json()["status"] == "processing"
    assert len((await app.client.get("/api/exports")).json()["exports"]) == 1


async def test_the_same_key_with_another_body_is_refused(app: AppHarness) -> None:
    headers = {"idempotency-key": "once"}
    await app.submit_export(headers=headers)
    answer = await app.client.post("/api/exports", json=app.export_body(project_id="x"), headers=headers)
    assert "Idempotency-Key" in problem(answer, 422)["detail"]


async def test_a_key_is_its_user_s_own(multi_user_app: AppHarness) -> None:
    ids = {
        (await multi_user_app.submit_export(user=user, headers=bearer(user) | {"idempotency-key": "once"}))[
            "job_id"
        ]
        for user in ("ada", "bob")
    }
    assert len(ids) == 2


async def test_a_request_that_was_refused_may_be_repeated_under_its_key(app: AppHarness) -> None:
    headers = {"idempotency-key": "once"}
    problem(await app.client.post("/api/exports", json=app.export_body(), headers=headers), 422)
    assert (await app.submit_export(headers=headers))["status"] == "pending"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_a_length(app: AppHarness, key: str) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(), headers={"idempotency-key": key})
    problem(answer, 422)


@pytest.fixture(params=["sqlite", "postgresql"])
async def either_house(
    request: pytest.FixtureRequest, users_settings: Settings, stack: AsyncExitStack
) -> AppHarness:
    """The service on each database, with at most three exports per user.

    Each test is another user.
    """
    url = request.getfixturevalue(f"{request.param}_url")
    changed = users_settings.model_copy(update={"database_url": url, "max_queued_per_user": 3})
    return await stack.enter_async_context(open_app(changed, FakeRunner()))


async def test_the_same_key_at_the_same_time_gives_one_job(either_house: AppHarness) -> None:
    user = "the same key"
    either_house.put_object(user=user)
    headers = bearer(user) | {"idempotency-key": "once"}
    answers = await asyncio.gather(
        *(
            either_house.client.post("/api/exports", json=either_house.export_body(), headers=headers)
            for _ in range(8)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1


async def test_a_quota_holds_for_requests_at_the_same_time_too(either_house: AppHarness) -> None:
    user = "a quota"
    either_house.put_object(user=user)
    answers = await asyncio.gather(
        *(
            either_house.client.post("/api/exports", json=either_house.export_body(), headers=bearer(user))
            for _ in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0
    problem(refused, 429)


async def test_a_quota_is_each_user_s_own_and_free_again_when_an_export_ends(
    either_house: AppHarness,
) -> None:
    headers = bearer("quota and end")
    jobs = [await either_house.submit_export(user="quota and end", headers=headers) for _ in range(3)]
    refused = await either_house.client.post("/api/exports", json=either_house.export_body(), headers=headers)
    problem(refused, 429)
    await either_house.submit_export(user="another", headers=bearer("another"))
    await either_house.client.delete(f"/api/exports/{jobs[0]['job_id']}", headers=headers)
    await either_house.submit_export(user="quota and end", headers=headers)
    retried = await either_house.client.post(f"/api/exports/{jobs[0]['job_id']}/retry", headers=headers)
    problem(retried, 429)


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
async def test_a_list_that_can_t_be_made_is_refused(app: AppHarness, query: str) -> None:
    told = problem(await app.client.get(f"/api/exports?{query}"), 422)
    assert told["errors"][0]["loc"][0] == "query"


async def test_lists_tell_what_is_active_what_is_recent_and_what_was_not_seen(app: AppHarness) -> None:
    ids = [(await app.submit_export())["job_id"] for _ in range(3)]
    run = await app.next_run()
    await run.report_failed()
    failed = run.spec.job_id
    await app.client.delete(f"/api/exports/{ids[2]}")

    async def listed(path: str) -> set[str]:
        return {job["job_id"] for job in (await app.client.get(path)).json()["exports"]}

    others = set(ids) - {failed, ids[2]}
    assert await listed("/api/exports/active") == others
    assert await listed("/api/exports/recent") == set(ids)
    assert await listed("/api/exports/recent?hours=0.000001") == others
    assert await listed("/api/exports/unacknowledged") == {failed, ids[2]}
    assert await listed("/api/exports?status=error") == {failed}
    answer = await app.client.post("/api/exports/acknowledge", json={"job_ids": [failed, *others, "x"]})
    assert [job["job_id"] for job in answer.json()["exports"]] == [failed]
    assert answer.json()["exports"][0]["acknowledged_at"] is not None
    assert await listed("/api/exports/unacknowledged") == {ids[2]}
    problem(await app.client.get("/api/exports/recent?hours=nan"), 422)


async def test_a_cancel_ends_the_run_and_may_be_repeated(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    first = await app.client.delete(f"/api/exports/{job['job_id']}")
    again = await app.client.delete(f"/api/exports/{job['job_id']}")
    assert (first.status_code, first.json()["status"], first.json()["phase"]) == (202, "cancelled", "done")
    assert (again.status_code, again.json()) == (202, first.json())
    assert app.runner.cancelled == [run.spec.call_id]


async def test_what_is_over_can_t_be_cancelled(app: AppHarness) -> None:
    await app.submit_export()
    run = await app.next_run()
    await run.report_failed()
    problem(await app.client.delete(f"/api/exports/{run.spec.job_id}"), 409)


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


async def test_what_is_not_failed_or_cancelled_can_t_be_retried(app: AppHarness) -> None:
    job = await app.submit_export()
    problem(await app.client.post(f"/api/exports/{job['job_id']}/retry"), 409)
    await app.complete_run(await app.next_run())
    problem(await app.client.post(f"/api/exports/{job['job_id']}/retry"), 409)


async def test_a_timeline_tells_the_transitions(app: AppHarness) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    for progress in (10, 20, 30):
        await run.report_progress(progress)
    await app.complete_run(run)
    headers = {"accept": "application/json"}
    told = (await app.client.get(f"/api/exports/{job['job_id']}/events", headers=headers)).json()
    phases = [event["phase"] for event in told["events"]]
    assert phases == ["queued", "starting", "starting", "processing", "finalizing", "done"]
    assert [event["status"] for event in told["events"]][-1] == "complete"


EVERY_CALL = [
    ("GET", "/api/exports/{}"),
    ("DELETE", "/api/exports/{}"),
    ("POST", "/api/exports/{}/retry"),
    ("GET", "/api/exports/{}/download"),
    ("HEAD", "/api/exports/{}/download"),
    ("GET", "/api/exports/{}/events"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
@pytest.mark.parametrize("whose", ["another's", "nobody's", "absurd"])
async def test_a_job_of_another_is_as_unknown_as_none(
    multi_user_app: AppHarness, method: str, path: str, whose: str
) -> None:
    job = await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    before = await multi_user_app.fetch_row(job["job_id"])
    job_id = {"another's": job["job_id"], "nobody's": job["job_id"][:-1] + "x", "absurd": "x" * 500}[whose]
    answer = await multi_user_app.client.request(method, path.format(job_id), headers=bearer("eve"))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    after = await multi_user_app.fetch_row(job["job_id"])
    assert (after["attempt"], after["status"]) == (before["attempt"], before["status"])


@pytest.mark.parametrize("path", ["", "/active", "/recent", "/unacknowledged"])
async def test_lists_hold_the_caller_s_own_jobs_alone(multi_user_app: AppHarness, path: str) -> None:
    await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    answer = await multi_user_app.client.get(f"/api/exports{path}", headers=bearer("eve"))
    assert answer.json()["exports"] == []


async def test_nobody_s_exports_are_acknowledged_by_another(multi_user_app: AppHarness) -> None:
    job = await multi_user_app.submit_export(user="ada", headers=bearer("ada"))
    await multi_user_app.client.delete(f"/api/exports/{job['job_id']}", headers=bearer("ada"))
    body = {"job_ids": [job["job_id"]]}
    answer = await multi_user_app.client.post("/api/exports/acknowledge", json=body, headers=bearer("eve"))
    assert answer.json() == {"exports": []}


async def test_another_s_object_is_no_source(multi_user_app: AppHarness) -> None:
    multi_user_app.put_object(user="ada")
    for key in (SOURCE, f"../ada/{SOURCE}", f"ada/{SOURCE}"):
        body = multi_user_app.export_body(config={**FRAMING, "input_key": key})
        problem(await multi_user_app.client.post("/api/exports", json=body, headers=bearer("eve")), 422)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/", 404),
        ("POST", "/api/exports/", 404),
        ("GET", "/api/webhooks/", 404),
        ("GET", "/healthz/", 404),
        ("PUT", "/api/exports", 405),
        ("PATCH", "/api/exports/x", 405),
        ("GET", "/api/callbacks/x", 405),
    ],
)
async def test_what_the_router_refuses_is_a_problem_too(
    app: AppHarness, method: str, path: str, status: int
) -> None:
    problem(await app.client.request(method, path), status)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/readyz", "GET, HEAD, OPTIONS"),
        ("/api/exports", "GET, HEAD, OPTIONS, POST"),
        ("/api/webhooks/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ],
)
async def test_a_path_tells_what_may_be_done_with_it(app: AppHarness, path: str, allowed: str) -> None:
    answer = await app.client.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
    assert (await app.client.request("LOCK", path)).headers["allow"] == allowed
    assert (await app.client.options("/nothing")).status_code == 404


async def test_a_page_elsewhere_that_names_itself_this_machine_is_kept_out(app: AppHarness) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "localhost@evil.example", ""):
        refused = problem(await app.client.get("/api/exports", headers={"host": host}), 400)
        assert refused["type"] == "urn:framehook:problem:unknown_host"
        assert "PUBLIC_URL" in refused["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"])
async def test_this_machine_may_be_called_by_any_of_its_names(app: AppHarness, host: str) -> None:
    assert (await app.client.get("/api/exports", headers={"host": host})).status_code == 200


async def test_the_public_address_is_a_name_of_the_service(settings: Settings, stack: AsyncExitStack) -> None:
    public = settings.model_copy(update={"public_url": "https://Video.example.org/"})
    app = await stack.enter_async_context(open_app(public, FakeRunner()))
    answer = await app.client.get("/api/exports", headers={"host": "video.example.org"})
    assert answer.status_code == 200


async def test_the_service_says_that_it_lives_and_is_ready(app: AppHarness) -> None:
    alive, ready = await app.client.get("/healthz"), await app.client.get("/readyz")
    assert (alive.status_code, ready.status_code) == (200, 200)
    assert {name: ready.json()[name] for name in ("database", "storage", "loops")} == {
        "database": "ok",
        "storage": "ok",
        "loops": "ok",
    }


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
async def test_a_nul_is_refused_before_it_reaches_a_database(
    either_house: AppHarness, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    user = "nul"
    either_house.put_object(user=user)
    whole = either_house.export_body() | body if path == "/api/exports" and body else body
    answer = await either_house.client.request(method, path, json=whole, headers=bearer(user))
    problem(answer, status)
