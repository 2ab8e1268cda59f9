"""Uploads and downloads on local storage, through the API."""

import unicodedata
from urllib.parse import quote, unquote

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from gpu.keys import validate_key
from infra.storage import Presentation
from service.api.transfers.uploads import safe_name
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.problems import assert_problem
from tests.support.small_mp4 import make_video

VIDEO = make_video(bytes(range(256)) * 40)
UPLOAD = {"filename": "match.mp4", "size": len(VIDEO), "content_type": "video/mp4"}


async def complete_export(app: AppHarness, name: str = "exports/final.mp4") -> FakeRun:
    """Complete an export with this output key."""
    config = {**FRAMING, "input_key": SOURCE, "output_key": name}
    await app.submit_export(json=app.export_body(config=config))
    run = await app.next_run()
    await run.report_started()
    assert (await app.complete_run(run, VIDEO)).status_code == 200
    return run


async def download(app: AppHarness, run: FakeRun, method: str = "GET", **headers: str) -> httpx.Response:
    path = f"/api/exports/{run.spec.job_id}/download"
    return await app.client.request(method, path, headers=headers)


async def test_a_complete_export_is_downloaded_from_the_url_of_the_job(app: AppHarness) -> None:
    run = await complete_export(app)
    job = (await app.client.get(f"/api/exports/{run.spec.job_id}")).json()
    answer = await app.client.get(job["output"]["url"])
    assert (answer.status_code, answer.content) == (200, VIDEO)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert job["output"]["size"] == len(VIDEO)
    assert (job["status"], job["phase"], job["progress"]) == ("complete", "done", 100.0)


@pytest.mark.parametrize(
    ("requested_range", "status", "content"),
    [
        ("bytes=0-9", 206, VIDEO[:10]),
        ("bytes=10-", 206, VIDEO[10:]),
        ("bytes=-5", 206, VIDEO[-5:]),
        (f"bytes=0-{len(VIDEO) * 9}", 206, VIDEO),
        (f"bytes={len(VIDEO)}-", 416, None),
    ],
    ids=["the first", "all but the first", "the last", "more than all", "beyond the end"],
)
async def test_a_part_is_downloaded_by_its_range(
    app: AppHarness, requested_range: str, status: int, content: bytes | None
) -> None:
    answer = await download(app, await complete_export(app), range=requested_range)
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content


async def test_a_download_resumes_only_if_the_file_is_unchanged(app: AppHarness) -> None:
    run = await complete_export(app)
    etag = (await download(app, run, "HEAD")).headers["etag"]
    same = await download(app, run, range="bytes=10-", **{"if-range": etag})
    app.put_object("exports/final.mp4", b"another video")
    other = await download(app, run, range="bytes=10-", **{"if-range": etag})
    assert (same.status_code, same.content) == (206, VIDEO[10:])
    assert_problem(other, 410)
    app.put_object("exports/final.mp4", VIDEO)  # the same again: whole, for a reader can't know
    again = await download(app, run, range="bytes=10-", **{"if-range": etag})
    assert (again.status_code, again.content) == (200, VIDEO)


async def test_head_returns_the_length_without_the_file(app: AppHarness) -> None:
    answer = await download(app, await complete_export(app), "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(VIDEO))


@pytest.mark.parametrize("name", ["final.mp4", "Größe, 決勝.mp4", 'the "best" goal; really.mp4', "a,b=c.mp4"])
async def test_a_file_is_saved_under_its_own_name(app: AppHarness, name: str) -> None:
    name = unicodedata.normalize("NFKC", name)
    answer = await download(app, await complete_export(app, f"exports/{name}"))
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="')
    assert disposition.endswith(f"filename*=UTF-8''{quote(name, safe='')}")


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("final.mp4", "final.mp4"),
        ("Größe über Łódź.mp4", "Grosse uber Lodz.mp4"),
        ("決勝.mp4", "video.mp4"),
        ("決勝 2.mp4", "__ 2.mp4"),
        ("🎬.MOV", "video.MOV"),
        ("без имени", "video"),
        ('a"b\\c%41/d.mp4', "a_b_c_41_d.mp4"),
        ("a\r\nSet-Cookie: b.mp4", "a__Set-Cookie: b.mp4"),
    ],
)
def test_clients_that_read_only_ascii_get_the_nearest_name(name: str, saved: str) -> None:
    plain, _, extended = Presentation(name, "video/mp4").content_disposition.partition("; filename*=UTF-8''")
    assert plain == f'attachment; filename="{saved}"'
    assert unquote(extended) == name


async def test_there_is_nothing_to_download_before_an_export_is_complete(app: AppHarness) -> None:
    await app.submit_export()
    run = await app.next_run()
    assert_problem(await download(app, run), 409)
    await run.report_started()
    assert_problem(await download(app, run), 409)
    await run.report_failed()
    assert_problem(await download(app, run), 409)


async def test_a_deleted_file_is_answered_404(app: AppHarness) -> None:
    run = await complete_export(app)
    path = app.state["storage"].local_path("local", "exports/final.mp4")
    assert path is not None
    path.unlink()
    assert_problem(await download(app, run), 404)


async def request_upload(app: AppHarness, **changes: object) -> httpx.Response:
    return await app.client.post("/api/uploads", json=UPLOAD | changes)


async def send_file(
    app: AppHarness, place: httpx.Response, content: bytes = VIDEO, **changes: str
) -> httpx.Response:
    target = place.json()
    return await app.client.request(
        target["method"], target["url"], content=content, headers=target["headers"] | changes
    )


async def test_an_upload_can_be_exported(app: AppHarness) -> None:
    place = await request_upload(app)
    assert place.status_code == 201
    assert (await send_file(app, place)).status_code == 201
    body = app.export_body(config={**FRAMING, "input_key": place.json()["key"]})
    assert (await app.client.post("/api/exports", json=body)).status_code == 202


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"size": 0}, 422, id="of nothing"),
        pytest.param({"size": "big"}, 422, id="of no size"),
        pytest.param({"size": 10**15}, 413, id="too large"),
        pytest.param({"content_type": "text/html"}, 415, id="of text"),
        pytest.param({"content_type": "image/png"}, 415, id="of a picture"),
        pytest.param(
            {"content_type": "application/octet-stream", "filename": "a"}, 415, id="of no known type"
        ),
        pytest.param({"filename": ""}, 422, id="of no name"),
        pytest.param({"owner": "bob"}, 422, id="with an unknown field"),
    ],
)
async def test_an_unsupported_upload_is_rejected_at_once(
    app: AppHarness, changes: dict[str, object], status: int
) -> None:
    assert_problem(await request_upload(app, **changes), status)


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("drone.h264", "application/octet-stream"),
        ("Recorder.MTS", "application/octet-stream"),
        ("camera.mxf", "application/mxf"),
        ("chat.gif", "image/gif"),
        ("old.wmv", "video/x-ms-wmv"),
    ],
)
async def test_every_supported_format_can_be_uploaded(
    app: AppHarness, filename: str, content_type: str
) -> None:
    place = await request_upload(app, filename=filename, content_type=content_type)
    assert place.status_code == 201


@pytest.mark.parametrize(
    ("content", "changes", "status"),
    [
        pytest.param(VIDEO[:-1], {}, 422, id="shorter"),
        pytest.param(VIDEO + b"x", {}, 422, id="longer"),
        pytest.param(VIDEO, {"Content-Type": "video/webm"}, 415, id="of another type"),
    ],
)
async def test_the_uploaded_body_must_match_the_request(
    app: AppHarness, content: bytes, changes: dict[str, str], status: int
) -> None:
    place = await request_upload(app)
    assert_problem(await send_file(app, place, content, **changes), status)
    assert await app.state["storage"].find("local", place.json()["key"]) is None


@pytest.mark.parametrize("change", ["token=", "token=x", "token=a.b.c"])
async def test_an_upload_url_needs_its_token(app: AppHarness, change: str) -> None:
    place = await request_upload(app)
    url = place.json()["url"].partition("?")[0]
    answer = await app.client.put(f"{url}?{change}", content=VIDEO, headers=place.json()["headers"])
    assert_problem(answer, 403)


async def test_an_upload_belongs_to_its_user(users_settings: Settings) -> None:
    async with open_app(users_settings, FakeRunner()) as app:
        place = await app.client.post("/api/uploads", json=UPLOAD, headers=bearer("ada"))
        assert (await send_file(app, place)).status_code == 201
        body = app.export_body(config={**FRAMING, "input_key": place.json()["key"]})
        assert_problem(await app.client.post("/api/exports", json=body, headers=bearer("eve")), 422)


@hypothesis.given(st.text(max_size=255))
@hypothesis.example("℀/../x")
@hypothesis.example("\ud800.mp4")
@hypothesis.example("a\u0301" * 200)
@hypothesis.example("각" * 100)
@hypothesis.example("..")
def test_any_file_name_makes_a_key(name: str) -> None:
    assert validate_key(safe_name(name)) == safe_name(name)
    assert "/" not in safe_name(name)
