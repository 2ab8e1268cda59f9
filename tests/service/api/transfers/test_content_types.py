"""Content types as browsers send them: with parameters, empty, or odd; the URL accepts what they then really send."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from service.video_types import NoVideoType, find_video_type
from tests.support.app_harness import AppHarness
from tests.support.fakes import FakeRunner
from tests.support.live_server import serve_app
from tests.support.problems import assert_problem
from tests.support.s3_server import S3Server
from tests.support.storage_harness import settings_for_storage

pytestmark = pytest.mark.anyio
VP9 = "video/webm;codecs=vp9"
ALL_FIELDS = {
    *("key", "size", "method", "url", "headers", "upload"),
    *("part_size", "part_count", "arrived", "parts", "expires_at"),
}


@pytest.fixture(params=["folder", "s3"])
async def http(
    request: pytest.FixtureRequest, data_dir: Path, s3_server: S3Server
) -> AsyncIterator[httpx.AsyncClient]:
    settings = await settings_for_storage(request.param, s3_server, data_dir)
    async with serve_app(settings, FakeRunner()) as server:
        yield server.http


@pytest.mark.parametrize(
    ("filename", "content_type", "sent"),
    [
        pytest.param("blob", VP9, VP9, id="a MediaRecorder's"),
        pytest.param("blob", 'video/mp4; codecs="avc1.64001f, mp4a.40.2"', None, id="quoted parameters"),
        pytest.param("a.MKV", "", "", id="empty"),
        pytest.param("a.mp4", "application/octet-stream", "", id="unknown bytes"),
        pytest.param(
            "a.mp4", "application/octet-stream", "application/octet-stream", id="unknown bytes, sent"
        ),
        pytest.param(
            "a.ts", "text/vnd.trolltech.linguist", "text/vnd.trolltech.linguist", id="a Qt translation"
        ),
        pytest.param("a.ts", "video/vnd.dlna.mpeg-tts", "video/vnd.dlna.mpeg-tts", id="Windows"),
        pytest.param("a.mov", "VIDEO/QuickTime", "video/quicktime", id="in capitals"),
    ],
)
async def test_a_browser_uploads_a_file_of_any_type_of_video(
    http: httpx.AsyncClient, filename: str, content_type: str, sent: str | None
) -> None:
    body = {"filename": filename, "size": 5, "content_type": content_type}
    answer = await http.post("/api/uploads", json=body)
    assert answer.status_code == 201, answer.text
    target = answer.json()
    by_itself = content_type if sent is None else sent
    is_signed_in_lower_case = by_itself != content_type and by_itself.lower() == content_type.lower()
    headers = {"Content-Type": by_itself} if by_itself else {}
    if not (is_signed_in_lower_case and "X-Amz-" in target["url"]):  # S3 compares it byte by byte
        stored = await http.put(target["url"], content=b"video", headers=headers)
        assert stored.is_success, stored.text
    as_told = await http.put(target["url"], content=b"video", headers=target["headers"])
    assert as_told.is_success, as_told.text
    again = await http.post(f"/api/uploads/{target['key']}/download-url")
    assert again.status_code == 200


async def test_a_whole_upload_and_one_in_parts_are_answered_in_one_shape(http: httpx.AsyncClient) -> None:
    body = {"filename": "a.mp4", "size": 9 * 2**20, "content_type": VP9}
    whole = (await http.post("/api/uploads", json=body)).json()
    in_parts = (await http.post("/api/uploads", json=body | {"parts": True})).json()
    resumed = (await http.get(f"/api/uploads/{in_parts['upload']}")).json()
    assert set(whole) == set(in_parts) == set(resumed) == ALL_FIELDS
    assert (whole["upload"], whole["parts"], whole["part_count"]) == (None, [], 1)
    assert whole["headers"] == {"Content-Type": VP9}
    assert (in_parts["url"], in_parts["headers"], in_parts["part_count"]) == (None, {}, 2)
    assert whole["size"] == whole["part_size"] == in_parts["size"] == 9 * 2**20


@pytest.mark.parametrize(
    ("filename", "content_type"),
    [
        ("a.mp4", "text/html"),
        ("a.mp4", "image/png"),
        ("a.mp3", "audio/mpeg"),
        ("notes.txt", ""),
        ("blob", ""),
        ("blob", "application/octet-stream"),
        ("a.svg", "image/svg+xml"),
        ("a.pdf", "application/pdf"),
    ],
)
async def test_a_file_that_is_no_video_is_told_what_is_accepted(
    app: AppHarness, filename: str, content_type: str
) -> None:
    body = {"filename": filename, "size": 5, "content_type": content_type}
    problem = assert_problem(await app.client.post("/api/uploads", json=body), 415)
    assert "video/*" in problem["detail"]
    assert ".mp4" in problem["detail"]
    assert problem["errors"][0]["loc"] == ["content_type"]


async def test_the_type_may_be_left_out(app: AppHarness) -> None:
    answer = await app.client.post("/api/uploads", json={"filename": "a.mp4", "size": 5})
    assert answer.status_code == 201
    assert answer.json()["headers"] == {"Content-Type": "video/mp4"}


@hypothesis.given(st.text(max_size=255), st.text(max_size=255))
@hypothesis.example("a.mp4", "video/mp4;x=\r\nX-Evil: 1")
@hypothesis.example("a.mp4", "video/mp4;x=ü")
@hypothesis.example("a.mp4", "video/")
def test_any_type_is_refused_or_safe_to_send_as_a_header(filename: str, content_type: str) -> None:
    try:
        video_type = find_video_type(filename, content_type)
    except NoVideoType:
        return
    for value in (video_type.media_type, video_type.declared or "x"):
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()


PART = 8 * 2**20
CONTENT = bytes(range(256)) * 40_000  # 10,240,000 bytes: two parts


async def test_each_part_has_a_url_at_any_time_and_arrived_parts_are_listed(http: httpx.AsyncClient) -> None:
    body = {"filename": "a.mp4", "size": len(CONTENT), "content_type": VP9, "parts": True}
    path = f"/api/uploads/{(await http.post('/api/uploads', json=body)).json()['upload']}"
    assert (await http.get(f"{path}/parts")).json() == {"parts": []}
    etags = []
    for number, content in ((2, CONTENT[PART:]), (1, CONTENT[:PART]), (2, CONTENT[PART:])):
        target = (await http.get(f"{path}/parts/{number}")).json()
        assert (target["number"], target["size"], target["method"]) == (number, len(content), "PUT")
        assert target["expires_at"].endswith("Z")
        sent = await http.put(target["url"], content=content, headers={"Content-Type": "video/webm"})
        assert sent.is_success
        etags.append(sent.headers["etag"].strip('"'))
    assert (await http.get(f"{path}/parts")).json() == {
        "parts": [
            {"number": 1, "size": PART, "etag": etags[1]},
            {"number": 2, "size": len(CONTENT) - PART, "etag": etags[2]},
        ]
    }
    assert (await http.post(f"{path}/complete")).status_code == 201
    assert_problem(await http.get(f"{path}/parts"), 404)


@pytest.mark.parametrize("number", ["0", "3", "-1", "x", "1000000000000000000000"])
async def test_only_parts_of_the_upload_have_urls(http: httpx.AsyncClient, number: str) -> None:
    body = {"filename": "a.mp4", "size": len(CONTENT), "content_type": VP9, "parts": True}
    path = f"/api/uploads/{(await http.post('/api/uploads', json=body)).json()['upload']}"
    assert_problem(await http.get(f"{path}/parts/{number}"), 404)
    assert_problem(await http.get(f"/api/uploads/{'x' * 50}/parts/1"), 404)
