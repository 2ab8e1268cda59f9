"""Projects: ids come back as they were given, and lists are filtered by their text."""

import json

import pytest

from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio

PROJECTS = ["spring", "7", 7, 0, -3, 2**53, 2**63 - 1, -(2**63), "", "a/b", "ü ñ", None]


async def test_a_project_id_comes_back_as_it_was_given(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    for project in PROJECTS:
        user = f"echo {project!r}"
        job = await app.submit_export(
            user=user, headers=bearer(user), json=app.export_body(project_id=project)
        )
        listed = await app.client.get("/api/exports/active", headers=bearer(user))
        echoes = [job["project_id"], listed.json()["exports"][0]["project_id"]]
        assert [json.dumps(echo) for echo in echoes] == [json.dumps(project)] * 2


async def test_a_project_id_survives_a_retry_and_reaches_streams(app: AppHarness) -> None:
    job = await app.submit_export(json=app.export_body(project_id=7, export_id="chosen-id"))
    await app.client.delete(f"/api/exports/{job['job_id']}")
    retried = (await app.client.post(f"/api/exports/{job['job_id']}/retry")).json()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    async with app.client.stream("GET", f"/api/exports/{job['job_id']}/events") as answer:
        lines = [line async for line in answer.aiter_lines()]
    streamed = json.loads(next(line for line in lines if line.startswith("data:")).removeprefix("data:"))
    assert [retried["project_id"], streamed["project_id"]] == [7, 7]
    assert [retried["export_id"], streamed["export_id"]] == ["chosen-id"] * 2


async def test_a_list_of_a_project_matches_the_text_of_its_id(app_on_any_database: AppHarness) -> None:
    app = app_on_any_database
    headers = bearer("a list")
    ids = {}
    for project in ("7", 7, "a/b"):
        body = app.export_body(project_id=project)
        ids[project] = (await app.submit_export(user="a list", headers=headers, json=body))["job_id"]

    async def list_ids(path: str) -> list[str]:
        answer = await app.client.get(f"/api/exports{path}", headers=headers)
        assert answer.status_code == 200, answer.text
        return [job["job_id"] for job in answer.json()["exports"]]

    for path in ("?project_id=7", "/project/7"):
        assert await list_ids(path) == [ids[7], ids["7"]]
    assert await list_ids("/project/a%2Fb") == await list_ids("?project_id=a/b") == [ids["a/b"]]
    assert await list_ids("/project/07") == await list_ids("/project/") == []
    page = await app.client.get("/api/exports/project/7?limit=1&status=pending", headers=headers)
    cursor = page.json()["next_cursor"]
    assert await list_ids(f"/project/7?limit=1&status=pending&cursor={cursor}") == [ids["7"]]
    assert await list_ids("/project/7?status=complete") == []


@pytest.mark.parametrize(
    "path", ["/project/%00", f"/project/{'x' * 201}", "/project/7?page=2", "?project_id=%00"]
)
async def test_an_invalid_project_in_a_list_is_rejected(app: AppHarness, path: str) -> None:
    assert_problem(await app.client.get(f"/api/exports{path}"), 422)


async def test_the_path_of_the_original_health_check_answers(app: AppHarness) -> None:
    answers = [await app.client.get(path) for path in ("/api/health", "/healthz")]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
