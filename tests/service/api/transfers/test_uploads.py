"""Uploads to a bucket and a folder, whole and in parts, and failures of the storage."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from service.settings import Settings
from tests.support.fakes import FakeRunner
from tests.support.live_server import FRAMING, LiveServer, free_port, serve_app, settings_on
from tests.support.s3_server import S3Server
from tests.support.storage_harness import settings_for_storage, settings_with_bucket

pytestmark = pytest.mark.anyio
AUTH_SECRET = "a shared secret of the tokens that is long enough"
MIB = 2**20
CONTENT = bytes(range(256)) * 40_000  # 10,240,000 bytes: two parts


@dataclass
class UploadClient:
    """Calls of users who upload files."""

    server: LiveServer

    async def request(self, method: str, path: str, *, user: str = "ann", **more: Any) -> httpx.Response:
        token = jwt.encode({"sub": user, "exp": 4_000_000_000}, AUTH_SECRET, "HS256")
        return await self.server.http.request(
            method, path, headers={"Authorization": f"Bearer {token}"}, **more
        )

    async def start_upload(self, size: int, *, user: str = "ann", **more: Any) -> dict[str, Any]:
        body = {"filename": "Spiel 1.mp4", "size": size, "content_type": "video/mp4"} | more
        answer = await self.request("POST", "/api/uploads", user=user, json=body)
        assert answer.status_code == 201, answer.text
        target: dict[str, Any] = answer.json()
        return target

    async def put(self, target: dict[str, Any], content: bytes, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.put(
                target["url"], content=content, headers=target.get("headers", {}) | headers
            )

    async def put_part(self, upload: dict[str, Any], number: int, **headers: str) -> httpx.Response:
        each = upload["part_size"]
        target = next(part for part in upload["parts"] if part["number"] == number)
        return await self.put(target, CONTENT[(number - 1) * each : number * each], **headers)

    async def export_status(self, key: str, *, user: str = "ann") -> int:
        """Submit an export of this key and return the status."""
        body = {"type": "framing", "config": {"input_key": key, **FRAMING}}
        return (await self.request("POST", "/api/exports", user=user, json=body)).status_code


async def bucket_settings(s3_server: S3Server, data_dir: Path) -> Settings:
    return await settings_with_bucket(s3_server, data_dir, auth_jwt_secret=AUTH_SECRET)


@pytest.fixture(params=["folder", "s3"])
async def uploads(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[UploadClient]:
    settings = await settings_for_storage(request.param, s3_server, data_dir, auth_jwt_secret=AUTH_SECRET)
    async with serve_app(settings, FakeRunner()) as server:
        yield UploadClient(server)


async def test_a_file_is_uploaded_and_can_be_exported(uploads: UploadClient) -> None:
    target = await uploads.start_upload(len(CONTENT))
    assert target["method"] == "PUT"
    assert target["headers"] == {"Content-Type": "video/mp4"}
    assert await uploads.export_status(target["key"]) == 422
    assert (await uploads.put(target, CONTENT)).is_success
    assert await uploads.export_status(target["key"]) == 202


async def test_another_users_file_does_not_exist(uploads: UploadClient) -> None:
    target = await uploads.start_upload(5)
    assert (await uploads.put(target, b"video")).is_success
    assert await uploads.export_status(target["key"], user="bob") == 422


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param(b"videos", {}, id="longer"),
        pytest.param(b"vide", {}, id="shorter"),
        pytest.param(b"video", {"Content-Type": "text/html"}, id="of another type"),
    ],
)
async def test_a_body_that_differs_from_the_request_is_rejected(
    uploads: UploadClient, content: bytes, headers: dict[str, str]
) -> None:
    target = await uploads.start_upload(5)
    assert (await uploads.put(target, content, **headers)).status_code in (403, 415, 422)
    assert await uploads.export_status(target["key"]) == 422


async def test_a_url_is_valid_only_for_its_own_key(uploads: UploadClient) -> None:
    first, other = await uploads.start_upload(5), await uploads.start_upload(5)
    swapped = first | {"url": first["url"].replace(first["key"].split("/")[1], other["key"].split("/")[1])}
    assert (await uploads.put(swapped, b"video")).status_code == 403
    assert (await uploads.put(first | {"url": first["url"] + "x"}, b"video")).status_code == 403


async def test_a_file_that_is_too_large_or_no_video_is_rejected_at_once(uploads: UploadClient) -> None:
    body = {"filename": "a.mp4", "size": 2**50, "content_type": "video/mp4"}
    assert (await uploads.request("POST", "/api/uploads", json=body)).status_code == 413
    body |= {"size": 5, "content_type": "text/html"}
    assert (await uploads.request("POST", "/api/uploads", json=body)).status_code == 415


async def test_a_large_file_is_uploaded_in_parts(uploads: UploadClient) -> None:
    upload = await uploads.start_upload(len(CONTENT), parts=True)
    assert [part["size"] for part in upload["parts"]] == [8 * MIB, len(CONTENT) - 8 * MIB]
    for number in (2, 1):
        assert (await uploads.put_part(upload, number)).is_success
    done = await uploads.request("POST", f"/api/uploads/{upload['upload']}/complete")
    assert (done.status_code, done.json()) == (201, {"key": upload["key"], "size": len(CONTENT)})
    assert await uploads.export_status(upload["key"]) == 202
    again = await uploads.request("POST", f"/api/uploads/{upload['upload']}/complete")
    assert again.status_code == 201


async def test_a_file_too_large_for_one_s3_request_is_uploaded_in_parts(uploads: UploadClient) -> None:
    upload = await uploads.start_upload(5 * 2**30)
    assert upload["part_count"] == 640
    assert len(upload["parts"]) == 100


async def test_an_upload_is_resumed(uploads: UploadClient) -> None:
    upload = await uploads.start_upload(len(CONTENT), parts=True)
    assert (await uploads.put_part(upload, 2)).is_success
    now = (await uploads.request("GET", f"/api/uploads/{upload['upload']}")).json()
    assert now["arrived"] == [2]
    assert [part["number"] for part in now["parts"]] == [1]
    early = await uploads.request("POST", f"/api/uploads/{upload['upload']}/complete")
    assert early.status_code == 409
    assert (await uploads.put_part(now, 1)).is_success
    assert (await uploads.request("POST", f"/api/uploads/{upload['upload']}/complete")).status_code == 201


async def test_a_damaged_or_wrong_sized_part_is_not_stored(uploads: UploadClient) -> None:
    upload = await uploads.start_upload(len(CONTENT), parts=True)
    wrong = {"Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A=="}
    assert (await uploads.put_part(upload, 2, **wrong)).status_code in (400, 422)
    assert (await uploads.put(upload["parts"][0], b"short")).status_code in (403, 422)
    now = (await uploads.request("GET", f"/api/uploads/{upload['upload']}")).json()
    assert now["arrived"] == []


async def test_an_aborted_upload_is_deleted(uploads: UploadClient) -> None:
    upload = await uploads.start_upload(len(CONTENT), parts=True)
    assert (await uploads.put_part(upload, 2)).is_success
    for _ in range(2):
        assert (await uploads.request("DELETE", f"/api/uploads/{upload['upload']}")).status_code == 204
    assert (await uploads.request("GET", f"/api/uploads/{upload['upload']}")).status_code == 404
    assert (await uploads.request("POST", f"/api/uploads/{upload['upload']}/complete")).status_code == 404
    assert (await uploads.put_part(upload, 1)).status_code == 404


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/complete"), ("DELETE", "")])
async def test_a_multipart_upload_belongs_to_its_user(uploads: UploadClient, method: str, path: str) -> None:
    upload = await uploads.start_upload(5, parts=True)
    answer = await uploads.request(method, f"/api/uploads/{upload['upload']}{path}", user="bob")
    assert answer.status_code == 404
    assert (await uploads.request(method, f"/api/uploads/{'x' * 50}{path}")).status_code == 404
    assert (await uploads.request("GET", f"/api/uploads/{upload['upload']}")).status_code == 200


async def test_a_url_in_the_bucket_expires(s3_server: S3Server, data_dir: Path) -> None:
    async with serve_app(await bucket_settings(s3_server, data_dir), FakeRunner()) as server:
        uploads = UploadClient(server)
        target = await uploads.start_upload(5)
        s3_server.faults.clock_ahead_seconds = 3_601
        assert (await uploads.put(target, b"video")).status_code == 403


async def test_an_interrupted_upload_leaves_nothing_and_can_be_repeated(
    s3_server: S3Server, data_dir: Path
) -> None:
    async with serve_app(await bucket_settings(s3_server, data_dir), FakeRunner()) as server:
        uploads = UploadClient(server)
        target = await uploads.start_upload(len(CONTENT))
        s3_server.faults.cut_requests, s3_server.faults.cut_after_bytes = 1, 1_000_000
        with pytest.raises(httpx.TransportError):
            await uploads.put(target, CONTENT)
        assert await uploads.export_status(target["key"]) == 422
        assert (await uploads.put(target, CONTENT)).is_success
        assert await uploads.export_status(target["key"]) == 202


async def test_a_busy_bucket_is_a_503_with_retry_after(s3_server: S3Server, data_dir: Path) -> None:
    async with serve_app(await bucket_settings(s3_server, data_dir), FakeRunner()) as server:
        s3_server.faults.busy_responses = 1_000
        body = {"filename": "a.mp4", "size": 5, "content_type": "video/mp4", "parts": True}
        answer = await UploadClient(server).request("POST", "/api/uploads", json=body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["type"] == "urn:framehook:problem:storage_unavailable"
        s3_server.faults.busy_responses = 0
        assert (await UploadClient(server).request("POST", "/api/uploads", json=body)).status_code == 201


async def test_a_bucket_that_denies_access_is_a_503_and_shows_on_readyz(
    s3_server: S3Server, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_app(await bucket_settings(s3_server, data_dir), FakeRunner()) as server:
        s3_server.faults.forbidden = True
        ready = await server.http.get("/readyz")
        assert (ready.status_code, ready.json()["storage"]) == (503, "failing")
        lines = [record for record in caplog.records if record.name == "framehook.health"]
        (line,) = lines
        assert line.getMessage().startswith(
            "the check of the storage for /readyz failed: the storage rejects"
        )
        assert line.exc_info is None, "each probe would log a traceback"
        body = {"filename": "a.mp4", "size": 5, "content_type": "video/mp4", "parts": True}
        answer = await UploadClient(server).request("POST", "/api/uploads", json=body)
        assert (answer.status_code, answer.json()["type"]) == (
            503,
            "urn:framehook:problem:storage_misconfigured",
        )
        assert "retry-after" not in answer.headers


async def test_a_body_of_undeclared_length_is_accepted(data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret=AUTH_SECRET)

    async def drops() -> AsyncIterator[bytes]:
        for start in range(0, len(CONTENT), 100_000):
            yield CONTENT[start : start + 100_000]

    async with serve_app(settings, FakeRunner()) as server, httpx.AsyncClient(trust_env=False) as client:
        target = await UploadClient(server).start_upload(len(CONTENT))
        answer = await client.put(target["url"], content=drops(), headers=target["headers"])
    assert answer.status_code == 201
