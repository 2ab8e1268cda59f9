"""URLs that play, show and save a file without authorization, in a folder and in a bucket."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from infra.storage import FolderStorage
from infra.storage.bucket_setup import BucketConfig, set_up_bucket
from infra.storage.client import Bucket
from service.composition.factories import bucket_config
from service.settings import Settings
from tests.service.conftest import JWT_SECRET, bearer
from tests.support.app_harness import EXPORTED, AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, settings_on
from tests.support.problems import assert_problem
from tests.support.s3_server import S3Server
from tests.support.storage_harness import StorageHarness, open_harness, settings_for_storage

pytestmark = pytest.mark.anyio
PAGE = "https://app.example"
NAME = "Tor & Jubel 100 ü.mp4"


async def open_bucket_to(settings: Settings, origin: str) -> None:
    """Write the CORS rules as `framehook bucket prepare` does, if files are stored in a bucket."""
    config = bucket_config(settings)
    if config is None:
        return
    bucket = Bucket(config)
    _ = [step async for step in set_up_bucket(bucket, BucketConfig(origins=[origin]))]
    await bucket.close()


@pytest.fixture(params=["folder", "s3"])
async def harness(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[StorageHarness]:
    """The service of several users with each storage; `http` is signed in as ada."""
    settings = await settings_for_storage(
        request.param, s3_server, data_dir, auth_jwt_secret=JWT_SECRET, allowed_origins=PAGE
    )
    await open_bucket_to(settings, PAGE)
    async with open_harness(settings, bearer("ada")) as harness:
        yield harness


@pytest.fixture
async def anyone() -> AsyncIterator[httpx.AsyncClient]:
    """A client that has only the URL."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def create_url(harness: StorageHarness, path: str, **options: object) -> str:
    answer = await harness.server.http.post(f"{path}/download-url", json=options)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


async def test_anyone_with_the_url_of_an_export_reads_it_whole_and_by_range(
    harness: StorageHarness, anyone: httpx.AsyncClient, tmp_path: Path
) -> None:
    job_id = await harness.complete_export(tmp_path, output_key=f"exports/{NAME}")
    url = await create_url(harness, f"/api/exports/{job_id}")
    whole = await anyone.get(url)
    assert (whole.status_code, whole.content) == (200, EXPORTED)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["accept-ranges"] == "bytes"
    part = await anyone.get(url, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, EXPORTED[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(EXPORTED)}"


@pytest.mark.parametrize("disposition", ["inline", "attachment"])
async def test_the_url_says_whether_browsers_show_or_save_and_under_which_name(
    harness: StorageHarness, anyone: httpx.AsyncClient, tmp_path: Path, disposition: str
) -> None:
    job_id = await harness.complete_export(tmp_path, output_key=f"exports/{NAME}")
    answer = await anyone.get(await create_url(harness, f"/api/exports/{job_id}", disposition=disposition))
    kind, _, name = answer.headers["content-disposition"].partition(";")
    assert kind == disposition
    assert unquote(name.partition("filename*=UTF-8''")[2]) == NAME
    assert answer.headers["content-type"] == "video/mp4"


async def test_a_source_has_a_url_too(harness: StorageHarness, anyone: httpx.AsyncClient) -> None:
    url = await create_url(harness, f"/api/uploads/{harness.source}", disposition="inline")
    answer = await anyone.get(url)
    assert (answer.status_code, answer.content) == (200, b"video")
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith("inline;")
    assert 'filename="match.mp4"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    ("content", "headers", "seconds"),
    [
        pytest.param(b"", {}, 3_600, id="nothing"),
        pytest.param(b"{}", {"Content-Type": "application/json"}, 3_600, id="no options"),
        pytest.param(b'{"expires_in":60}', {"Content-Type": "application/json"}, 60, id="a minute"),
        pytest.param(b'{"expires_in":604800}', {"Content-Type": "application/json"}, 604_800, id="a week"),
    ],
)
async def test_the_answer_says_until_when_the_url_is_valid(
    harness: StorageHarness, content: bytes, headers: dict[str, str], seconds: int
) -> None:
    before = int(time.time())
    path = f"/api/uploads/{harness.source}/download-url"
    answer = await harness.server.http.post(path, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"url", "expires_at"}
    expires_at = datetime.fromisoformat(answer.json()["expires_at"]).timestamp()
    assert before + seconds <= expires_at <= time.time() + seconds
    signed = parse_qs(urlsplit(answer.json()["url"]).query)
    assert signed.get("X-Amz-Expires", [str(seconds)]) == [str(seconds)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"expires_in": 59}, 422, id="too short"),
        pytest.param({"expires_in": 604_801}, 422, id="too long"),
        pytest.param({"expires_in": "soon"}, 422, id="no number"),
        pytest.param({"disposition": "form-data"}, 422, id="another disposition"),
        pytest.param({"filename": "x.html"}, 422, id="an unknown option"),
        pytest.param([], 422, id="a list"),
    ],
)
async def test_wrong_options_are_rejected(app: AppHarness, body: object, status: int) -> None:
    app.put_object("uploads/match.mp4")
    answer = await app.client.post("/api/uploads/uploads/match.mp4/download-url", json=body)
    assert_problem(answer, status)


async def test_a_body_that_is_not_json_is_rejected(app: AppHarness) -> None:
    app.put_object("uploads/match.mp4")
    path = "/api/uploads/uploads/match.mp4/download-url"
    headers = {"Content-Type": "text/plain"}
    assert_problem(await app.client.post(path, content=b'{"expires_in":60}', headers=headers), 415)


@pytest.mark.parametrize(
    ("headers", "status"), [(bearer("eve"), 404), ({"Authorization": "Bearer x"}, 401), ({}, 401)]
)
async def test_only_the_owner_gets_a_url(
    harness: StorageHarness, anyone: httpx.AsyncClient, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    job_id = await harness.complete_export(tmp_path)
    for path in (f"/api/exports/{job_id}", f"/api/uploads/{harness.source}"):
        answer = await anyone.post(f"{harness.server.url}{path}/download-url", headers=headers)
        assert_problem(answer, status)


async def test_a_stream_ticket_gets_no_url(harness: StorageHarness, anyone: httpx.AsyncClient) -> None:
    ticket = (await harness.server.http.post("/api/stream-tickets")).json()["ticket"]
    path = f"{harness.server.url}/api/uploads/{harness.source}/download-url"
    assert_problem(await anyone.post(path, params={"ticket": ticket}), 401)
    assert_problem(await anyone.post(path, headers={"Authorization": f"Bearer {ticket}"}), 401)


@pytest.mark.parametrize(
    "key", ["none.mp4", "uploads/none.mp4", "exports/a.mp4", "uploads/../b.mp4", "uploads/"]
)
async def test_an_unknown_source_has_no_url(harness: StorageHarness, key: str) -> None:
    answer = await harness.server.http.post(f"/api/uploads/{key.replace('..', '%2e%2e')}/download-url")
    assert_problem(answer, 404)


async def test_an_export_has_a_url_only_once_it_is_complete(harness: StorageHarness, tmp_path: Path) -> None:
    spec = await harness.submit_export()
    path = f"/api/exports/{spec.job_id}/download-url"
    problem = assert_problem(await harness.server.http.post(path), 409)
    assert problem["type"] == "urn:framehook:problem:not_complete"
    assert_problem(await harness.server.http.post("/api/exports/unknown/download-url"), 404)


async def replace_output(harness: StorageHarness, job_id: str, content: bytes | None) -> None:
    """Write other bytes to the key of an output, or delete it, as another program would."""
    job = (await harness.server.http.get(f"/api/exports/{job_id}")).json()
    config = bucket_config(harness.settings)
    if config is None:
        path = FolderStorage(harness.settings.data_dir).local_path("ada", job["output_key"])
        path.unlink() if content is None else path.write_bytes(content)
        return
    bucket = Bucket(config)
    arguments = {"Key": f"ada/{job['output_key']}"}
    if content is None:
        await bucket.call("delete_object", **arguments)
    else:
        await bucket.call("put_object", Body=content, **arguments)
    await bucket.close()


async def test_a_replaced_output_has_no_url(harness: StorageHarness, tmp_path: Path) -> None:
    job_id = await harness.complete_export(tmp_path)
    await replace_output(harness, job_id, b"another file")
    problem = assert_problem(await harness.server.http.post(f"/api/exports/{job_id}/download-url"), 410)
    assert problem["type"] == "urn:framehook:problem:output_replaced"


async def test_a_deleted_output_has_no_url(harness: StorageHarness, tmp_path: Path) -> None:
    job_id = await harness.complete_export(tmp_path)
    await replace_output(harness, job_id, None)
    assert_problem(await harness.server.http.post(f"/api/exports/{job_id}/download-url"), 404)


async def test_the_url_of_a_folder_serves_no_file_that_replaced_the_output(
    data_dir: Path, tmp_path: Path, anyone: httpx.AsyncClient
) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret=JWT_SECRET)
    async with open_harness(settings, bearer("ada")) as harness:
        job_id = await harness.complete_export(tmp_path)
        url = await create_url(harness, f"/api/exports/{job_id}")
        await replace_output(harness, job_id, b"another file")
        assert_problem(await anyone.get(url), 410)
        await replace_output(harness, job_id, None)
        assert_problem(await anyone.get(url), 404)


async def test_the_url_of_a_folder_answers_head_and_resumes_by_etag(
    data_dir: Path, tmp_path: Path, anyone: httpx.AsyncClient
) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret=JWT_SECRET)
    async with open_harness(settings, bearer("ada")) as harness:
        job_id = await harness.complete_export(tmp_path)
        url = await create_url(harness, f"/api/exports/{job_id}", disposition="inline")
        head = await anyone.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(EXPORTED))
        assert head.headers["content-disposition"].startswith("inline;")
        resume = {"Range": "bytes=5-", "If-Range": head.headers["etag"]}
        assert (await anyone.get(url, headers=resume)).content == EXPORTED[5:]
        other = {"Range": "bytes=5-", "If-Range": '"other"'}
        assert (await anyone.get(url, headers=other)).status_code == 200


async def test_a_url_is_for_its_disposition_alone(data_dir: Path, anyone: httpx.AsyncClient) -> None:
    async with open_harness(settings_on(free_port(), data_dir)) as harness:
        url = await create_url(harness, f"/api/uploads/{harness.source}")
        assert_problem(await anyone.put(url, content=b"other"), 403)
        assert_problem(await anyone.get(url.replace("match.mp4", "other.mp4")), 403)
        shown = await anyone.get(f"{url}&disposition=inline")
        assert shown.headers["content-disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    "name",
    ["page.html", "picture.svg", "page.xhtml", "feed.xml", "code.js", "text.txt", "no suffix", "a.pdf"],
)
async def test_no_document_of_a_user_opens_in_the_origin_of_the_service(
    data_dir: Path, anyone: httpx.AsyncClient, name: str
) -> None:
    async with open_harness(settings_on(free_port(), data_dir)) as harness:
        key = f"uploads/1/{name}"
        path = FolderStorage(data_dir).local_path("local", key)
        path.parent.mkdir(parents=True)
        path.write_text("<script>alert(1)</script>")
        answer = await anyone.get(await create_url(harness, f"/api/uploads/{key}", disposition="inline"))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"


async def test_a_page_of_an_allowed_origin_fetches_the_url_and_reads_its_headers(
    harness: StorageHarness, anyone: httpx.AsyncClient
) -> None:
    url = await create_url(harness, f"/api/uploads/{harness.source}")
    wants = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range,if-range",
    }
    preflight = await anyone.options(url, headers=wants)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, PAGE)
    answer = await anyone.get(url, headers={"Origin": PAGE, "Range": "bytes=0-1"})
    assert answer.headers["access-control-allow-origin"] == PAGE
    readable = answer.headers["access-control-expose-headers"].lower()
    for name in ("etag", "content-range", "accept-ranges", "content-disposition"):
        assert name in readable
    elsewhere = await anyone.get(url, headers={"Origin": "https://else.example"})
    assert "access-control-allow-origin" not in elsewhere.headers


async def test_the_url_begins_with_the_public_address(settings: Settings) -> None:
    public = settings.model_copy(update={"public_url": "https://video.example/"})
    async with open_app(public, FakeRunner()) as app:
        app.put_object("uploads/a b.mp4")
        answer = await app.client.post("/api/uploads/uploads/a%20b.mp4/download-url")
    assert answer.json()["url"].startswith("https://video.example/api/files/uploads/a%20b.mp4?token=")
