"""`POST /api/exports/acknowledge`: an object, a bare list, or nothing for all finished exports."""

from typing import Any

import pytest

from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio

PATH = "/api/exports/acknowledge"


async def cancel_exports(app: AppHarness, count: int) -> list[str]:
    ids = [(await app.submit_export())["job_id"] for _ in range(count)]
    for job_id in ids:
        await app.client.delete(f"/api/exports/{job_id}")
    return ids


async def list_unacknowledged(app: AppHarness) -> list[str]:
    answer = await app.client.get("/api/exports/unacknowledged")
    return [job["job_id"] for job in answer.json()["exports"]]


@pytest.mark.parametrize("wrap", [lambda ids: ids, lambda ids: {"job_ids": ids}], ids=["list", "object"])
async def test_the_listed_exports_are_acknowledged(app: AppHarness, wrap: Any) -> None:
    ids = await cancel_exports(app, 3)
    running = (await app.submit_export())["job_id"]
    answer = await app.client.post(PATH, json=wrap([ids[0], ids[2], running, "unknown", ids[0]]))
    assert answer.status_code == 200
    assert [job["job_id"] for job in answer.json()["exports"]] == [ids[2], ids[0]]
    assert await list_unacknowledged(app) == [ids[1]]


@pytest.mark.parametrize(
    "request_body",
    [
        pytest.param({}, id="no body"),
        pytest.param({"headers": {"content-type": "application/json"}}, id="an empty body of JSON"),
        pytest.param({"json": {}}, id="an empty object"),
        pytest.param({"json": {"job_ids": None}}, id="no ids"),
        pytest.param({"content": "null", "headers": {"content-type": "application/json"}}, id="null"),
    ],
)
async def test_nothing_means_all_finished_exports(app: AppHarness, request_body: dict[str, Any]) -> None:
    ids = await cancel_exports(app, 2)
    running = (await app.submit_export())["job_id"]
    answer = await app.client.post(PATH, **request_body)
    assert answer.status_code == 200
    assert [job["job_id"] for job in answer.json()["exports"]] == ids[::-1]
    assert await list_unacknowledged(app) == []
    assert (await app.client.get(f"/api/exports/{running}")).json()["acknowledged_at"] is None


async def test_nothing_means_all_exports_of_the_user_only(app_on_any_database: AppHarness) -> None:
    client, user, other = app_on_any_database.client, bearer("all of them"), bearer("all of another's")
    job = await app_on_any_database.submit_export(user="all of them", headers=user)
    await client.delete(f"/api/exports/{job['job_id']}", headers=user)
    assert (await client.post(PATH, headers=other)).json() == {"exports": []}
    assert_problem(await client.post(PATH), 401)
    seen = await client.post(PATH, headers=user)
    assert [export["job_id"] for export in seen.json()["exports"]] == [job["job_id"]]
    assert (await client.post(PATH, headers=user)).json() == {"exports": []}


@pytest.mark.parametrize("body", [[], {"job_ids": []}])
async def test_an_empty_list_acknowledges_nothing(app: AppHarness, body: Any) -> None:
    ids = await cancel_exports(app, 1)
    assert (await app.client.post(PATH, json=body)).json() == {"exports": []}
    assert await list_unacknowledged(app) == ids


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        pytest.param(b"\r\n", "application/json", 422, id="white space, which is no JSON"),
        pytest.param(b'["x"]', "text/plain", 415, id="a list as a form sends it"),
        pytest.param(b'{"job_ids": ["x"]}', "text/plain", 415, id="an object as a form sends it"),
        pytest.param(b"[1]", "application/json", 422, id="numbers"),
        pytest.param(b"[[]]", "application/json", 422, id="lists"),
        pytest.param(b'{"ids": []}', "application/json", 422, id="an unknown field"),
        pytest.param(b'"x"', "application/json", 422, id="a string"),
        pytest.param(b"[", "application/json", 422, id="half a list"),
        pytest.param(b'["' + b"x" * 65 + b'"]', "application/json", 422, id="a long id"),
        pytest.param(b"[" + b'"x",' * 1_000 + b'"x"]', "application/json", 422, id="too many"),
    ],
)
async def test_another_body_is_rejected_and_acknowledges_nothing(
    app: AppHarness, content: bytes, kind: str, status: int
) -> None:
    ids = await cancel_exports(app, 1)
    assert_problem(await app.client.post(PATH, content=content, headers={"content-type": kind}), status)
    assert await list_unacknowledged(app) == ids
