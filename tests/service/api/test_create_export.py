"""`POST /api/exports`: what is accepted, what is rejected, idempotency keys and quotas."""

import asyncio
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, SOURCE, AppHarness
from tests.support.problems import assert_problem

JOB_FIELDS = {
    *(
        "job_id",
        "export_id",
        "batch_id",
        "name",
        "type",
        "status",
        "phase",
        "progress",
        "message",
        "error",
        "project_id",
        "metadata",
        "priority",
        "not_before",
        "queue",
        "attempt",
        "sequence",
    ),
    *(
        "input_key",
        "output_key",
        "output",
        "created_at",
        "started_at",
        "completed_at",
        "expires_at",
        "acknowledged_at",
    ),
    *("eta_seconds", "eta_high_seconds", "gpu_seconds", "cost_usd", "max_cost_usd", "runner", "call_id"),
}


async def test_an_export_is_accepted_and_shown_at_its_location(app: AppHarness) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(project_id="spring"))
    job = answer.json()
    assert answer.status_code == 202
    assert set(job) == JOB_FIELDS
    assert answer.headers["location"] == f"/api/exports/{job['job_id']}"
    shown = await app.client.get(answer.headers["location"])
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert (job["status"], job["phase"], job["sequence"], job["attempt"]) == ("pending", "queued", 1, 1)
    assert (job["project_id"], job["input_key"], job["export_id"]) == ("spring", SOURCE, None)
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
        *(
            pytest.param({"project_id": project}, ["project_id"], id=f"the project {str(project)[:20]}")
            for project in ("x" * 201, 2**63, -(2**63) - 1, 7.5, True, ["spring"], {"id": 7})
        ),
        pytest.param({"project_name": "x" * 201}, ["project_name"], id="a long project name"),
        *(
            pytest.param({"export_id": export_id}, ["export_id"], id=f"the id {str(export_id)[:12]}")
            for export_id in (
                "",
                "x" * 7,
                "x" * 65,
                "a b c d e",
                "ümlaut-12",
                "export_1\n",
                "a/b/c/d/e",
                12345678,
            )
        ),
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
async def test_an_invalid_request_is_rejected_with_the_field_that_is_wrong(
    app: AppHarness, changes: dict[str, object], where: list[str | int]
) -> None:
    app.put_object()
    body = {name: value for name, value in (app.export_body() | changes).items() if value is not None}
    refusal = assert_problem(await app.client.post("/api/exports", json=body), 422)
    assert [error["loc"] for error in refusal["errors"]] == [where]
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
async def test_a_body_that_is_not_json_is_rejected(
    app: AppHarness, content: bytes, kind: str, status: int
) -> None:
    answer = await app.client.post("/api/exports", content=content, headers={"content-type": kind})
    assert_problem(answer, status)


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
async def test_no_configuration_crashes_the_route(
    app: AppHarness, type_: str, config: dict[str, Any]
) -> None:
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


async def test_the_same_key_with_another_body_is_rejected(app: AppHarness) -> None:
    headers = {"idempotency-key": "once"}
    await app.submit_export(headers=headers)
    answer = await app.client.post("/api/exports", json=app.export_body(project_id="x"), headers=headers)
    assert "Idempotency-Key" in assert_problem(answer, 422)["detail"]


async def test_idempotency_keys_are_separate_for_each_user(multi_user_app: AppHarness) -> None:
    ids = {
        (await multi_user_app.submit_export(user=user, headers=bearer(user) | {"idempotency-key": "once"}))[
            "job_id"
        ]
        for user in ("ada", "bob")
    }
    assert len(ids) == 2


async def test_a_rejected_request_may_be_repeated_with_its_key(app: AppHarness) -> None:
    headers = {"idempotency-key": "once"}
    assert_problem(await app.client.post("/api/exports", json=app.export_body(), headers=headers), 422)
    assert (await app.submit_export(headers=headers))["status"] == "pending"


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_an_idempotency_key_has_a_maximum_length(app: AppHarness, key: str) -> None:
    app.put_object()
    answer = await app.client.post("/api/exports", json=app.export_body(), headers={"idempotency-key": key})
    assert_problem(answer, 422)


async def test_the_same_key_at_the_same_time_gives_one_job(app_on_any_database: AppHarness) -> None:
    user = "the same key"
    app_on_any_database.put_object(user=user)
    headers = bearer(user) | {"idempotency-key": "once"}
    answers = await asyncio.gather(
        *(
            app_on_any_database.client.post(
                "/api/exports", json=app_on_any_database.export_body(), headers=headers
            )
            for _ in range(8)
        )
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1


async def test_concurrent_requests_do_not_exceed_the_quota(app_on_any_database: AppHarness) -> None:
    user = "a quota"
    app_on_any_database.put_object(user=user)
    answers = await asyncio.gather(
        *(
            app_on_any_database.client.post(
                "/api/exports", json=app_on_any_database.export_body(), headers=bearer(user)
            )
            for _ in range(8)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 5
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) > 0
    assert_problem(refused, 429)


async def test_a_quota_is_per_user_and_freed_when_an_export_ends(
    app_on_any_database: AppHarness,
) -> None:
    headers = bearer("quota and end")
    jobs = [await app_on_any_database.submit_export(user="quota and end", headers=headers) for _ in range(3)]
    refused = await app_on_any_database.client.post(
        "/api/exports", json=app_on_any_database.export_body(), headers=headers
    )
    assert_problem(refused, 429)
    await app_on_any_database.submit_export(user="another", headers=bearer("another"))
    await app_on_any_database.client.delete(f"/api/exports/{jobs[0]['job_id']}", headers=headers)
    await app_on_any_database.submit_export(user="quota and end", headers=headers)
    retried = await app_on_any_database.client.post(
        f"/api/exports/{jobs[0]['job_id']}/retry", headers=headers
    )
    assert_problem(retried, 429)
