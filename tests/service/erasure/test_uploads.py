"""`GET /api/uploads`, `DELETE /api/uploads/{key}`, and the limit of what a user's files take."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import delete_all_rows
from tests.support.live_server import FRAMING, LiveServer, serve_app
from tests.support.problems import assert_problem
from tests.support.s3_server import S3Server
from tests.support.storage_harness import RemoteRunner, settings_for_storage

pytestmark = pytest.mark.anyio
CONTENT = b"a video of five scenes"
LIMIT = 100


@pytest.fixture(params=[("folder", "postgresql"), ("s3", "sqlite")], ids=["folder", "s3"])
async def server(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[LiveServer]:
    """The service on each storage and each database, with room for 100 bytes a user."""
    storage, database = request.param
    url = request.getfixturevalue(f"{database}_url")
    await delete_all_rows(url)
    settings = await settings_for_storage(
        storage, s3_server, data_dir, database_url=url, max_bytes_per_user=LIMIT
    )
    async with serve_app(settings, RemoteRunner()) as server:
        yield server


async def announce(server: LiveServer, size: int = len(CONTENT), **more: object) -> httpx.Response:
    body = {"filename": "Birthday of Grandma.mp4", "size": size, "content_type": "video/mp4"} | more
    return await server.http.post("/api/uploads", json=body)


async def upload(server: LiveServer) -> dict[str, Any]:
    target: dict[str, Any] = (await announce(server)).json()
    assert (await send(target)).is_success
    return target


async def send(target: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.put(target["url"], content=CONTENT, headers=target["headers"])


async def list_uploads(server: LiveServer, **query: object) -> list[dict[str, Any]]:
    answer = await server.http.get("/api/uploads", params={key: str(value) for key, value in query.items()})
    assert answer.status_code == 200, answer.text
    uploads: list[dict[str, Any]] = answer.json()["uploads"]
    return uploads


async def submit(server: LiveServer, key: str) -> httpx.Response:
    body = {"type": "framing", "config": {"input_key": key, **FRAMING}}
    return await server.http.post("/api/exports", json=body)


async def test_uploads_are_listed_newest_first_with_what_reads_them(server: LiveServer) -> None:
    stored = await upload(server)
    announced = (await announce(server)).json()
    job = (await submit(server, stored["key"])).json()
    newest, oldest = await list_uploads(server)
    assert (newest["key"], newest["state"], newest["used_by"]) == (announced["key"], "announced", [])
    assert (oldest["key"], oldest["state"], oldest["used_by"]) == (stored["key"], "stored", [job["job_id"]])
    assert (oldest["size"], oldest["filename"]) == (len(CONTENT), "Birthday of Grandma.mp4")
    [first] = await list_uploads(server, limit=1)
    assert [row["key"] for row in await list_uploads(server, cursor=first["key"])] == [oldest["key"]]


async def test_an_upload_is_deleted_unless_an_active_export_reads_it(server: LiveServer) -> None:
    key = (await upload(server))["key"]
    job = (await submit(server, key)).json()
    assert assert_problem(await server.http.delete(f"/api/uploads/{key}"), 409)["code"] == "upload_in_use"
    await server.http.delete(f"/api/exports/{job['job_id']}")
    for _ in range(2):
        assert (await server.http.delete(f"/api/uploads/{key}")).status_code == 204
    assert await list_uploads(server) == []
    assert (await submit(server, key)).status_code == 422


async def test_what_is_announced_or_half_sent_can_be_deleted(server: LiveServer) -> None:
    target = (await announce(server, parts=True)).json()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.put(target["parts"][0]["url"], content=CONTENT)).is_success
    assert (await server.http.delete(f"/api/uploads/{target['key']}")).status_code == 204
    assert_problem(await server.http.post(f"/api/uploads/{target['upload']}/complete"), 404)
    assert await list_uploads(server) == []


@pytest.mark.parametrize("key", ["uploads/none", f"uploads/{'0' * 32}/a.mp4", "exports/a.mp4", "x/y"])
async def test_an_unknown_upload_cannot_be_deleted(server: LiveServer, key: str) -> None:
    assert_problem(await server.http.delete(f"/api/uploads/{key}"), 404)


async def test_announced_and_stored_bytes_count_for_the_limit(server: LiveServer) -> None:
    stored = await upload(server)
    second = (await announce(server, LIMIT - len(CONTENT))).json()
    refused = assert_problem(await announce(server, 1), 413)
    assert refused["code"] == "storage_quota_exceeded"
    assert assert_problem(await submit(server, stored["key"]), 413)["code"] == "storage_quota_exceeded"
    assert (await server.http.delete(f"/api/uploads/{second['key']}")).status_code == 204
    assert (await submit(server, stored["key"])).status_code == 202
