"""Signed URLs of the folder: ranges, conditions, and nothing beyond what they grant."""

import hmac
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infra.storage import FolderStorage
from infra.storage.signed import Grant, UrlSigner
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
KEY = "exports/Tor 1 ü.mp4"
CONTENT = b"0123456789"


@pytest.fixture
async def http(data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()) as server:
        yield server.http


@pytest.fixture
async def storage(data_dir: Path, http: httpx.AsyncClient) -> FolderStorage:
    """The service's folder, with the key that it signs with."""
    body = {"filename": "a.mp4", "size": 1, "content_type": "video/mp4"}
    assert (await http.post("/api/uploads", json=body)).status_code == 201
    master = b"a master secret of the callbacks that is long enough"
    urls = UrlSigner(str(http.base_url).rstrip("/"), hmac.digest(master, b"files", "sha256"))
    folder = FolderStorage(data_dir, urls)
    path = folder.local_path("local", KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return folder


@pytest.fixture
async def url(storage: FolderStorage) -> str:
    return (await storage.sign_read_url("local", KEY, expires_seconds=60)).url


async def test_an_object_is_read_whole(http: httpx.AsyncClient, url: str) -> None:
    answer = await http.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_page_of_an_allowed_origin_may_send_parts_and_read_ranges(data_dir: Path) -> None:
    page = "https://page.example"
    settings = settings_on(free_port(), data_dir, allowed_origins=page)
    async with serve_app(settings, FakeRunner()) as server:
        body = {"filename": "a.mp4", "size": 5, "content_type": "video/mp4", "parts": True}
        place = (await server.http.post("/api/uploads", json=body)).json()
        (part,) = place["parts"]
        wants = {"Origin": page, "Access-Control-Request-Method": "PUT"}
        for name in ("content-md5", "content-type", "range", "if-range"):
            asking = wants | {"Access-Control-Request-Headers": name}
            assert (await server.http.options(part["url"], headers=asking)).status_code == 200
        sent = await server.http.put(part["url"], content=b"video", headers={"Origin": page})
        assert sent.headers["access-control-allow-origin"] == page
        assert "ETag" in sent.headers["access-control-expose-headers"]


async def test_head_has_the_headers_of_get(http: httpx.AsyncClient, url: str) -> None:
    whole, head = await http.get(url), await http.head(url)
    assert head.content == b""
    for name in ("content-length", "etag", "content-type", "content-disposition", "last-modified"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("requested_range", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=10-", 416, None),
        ("bytes=10-, 20-", 416, None),
        ("bytes=4-2", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
        ("bytes", 200, CONTENT),
    ],
)
async def test_ranges_are_served_or_rejected(
    http: httpx.AsyncClient, url: str, requested_range: str, status: int, content: bytes | None
) -> None:
    answer = await http.get(url, headers={"Range": requested_range})
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content
    else:
        assert assert_problem(answer, 416)["code"] == "range_not_satisfiable"
        assert answer.headers["content-range"] == "bytes */10"


async def test_a_range_of_a_changed_object_gets_the_whole_new_object(
    http: httpx.AsyncClient, url: str, storage: FolderStorage
) -> None:
    etag = (await http.get(url)).headers["etag"]
    same = await http.get(url, headers={"Range": "bytes=0-1", "If-Range": etag})
    assert (same.status_code, same.content) == (206, b"01")
    storage.local_path("local", KEY).write_bytes(b"another video")
    changed = await http.get(url, headers={"Range": "bytes=0-1", "If-Range": etag})
    assert (changed.status_code, changed.content) == (200, b"another video")
    strict = await http.get(url, headers={"Range": "bytes=0-1", "If-Match": etag})
    assert assert_problem(strict, 412)["code"] == "file_changed"


async def test_an_unchanged_object_is_not_sent_again(http: httpx.AsyncClient, url: str) -> None:
    first = await http.get(url)
    for headers in (
        {"If-None-Match": first.headers["etag"]},
        {"If-None-Match": f'"x", W/{first.headers["etag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": first.headers["last-modified"]},
    ):
        answer = await http.get(url, headers=headers)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("since", ["Thu, 01 Jan 1970 00:00:00 GMT", "nonsense", ""])
async def test_conditions_that_do_not_hold_are_ignored(http: httpx.AsyncClient, url: str, since: str) -> None:
    assert (
        await http.get(url, headers={"If-Modified-Since": since, "If-None-Match": '"other"'})
    ).status_code == 200
    assert (await http.get(url, headers={"If-Modified-Since": since})).status_code == 200


async def test_a_url_stores_one_file_once(http: httpx.AsyncClient) -> None:
    body = {"filename": "a.mp4", "size": 5, "content_type": "video/mp4"}
    place = (await http.post("/api/uploads", json=body)).json()
    contents = (b"video", b"video", b"other")
    answers = [await http.put(place["url"], content=each, headers=place["headers"]) for each in contents]
    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[2].json()["type"] == "urn:framehook:problem:already_uploaded"


async def test_a_url_expires(http: httpx.AsyncClient, storage: FolderStorage) -> None:
    assert (
        await http.get((await storage.sign_read_url("local", KEY, expires_seconds=-1)).url)
    ).status_code == 403


async def test_a_url_for_reading_can_t_write_and_vice_versa(
    http: httpx.AsyncClient, storage: FolderStorage, url: str
) -> None:
    assert (await http.put(url, content=b"x")).status_code == 403
    writing = await storage.sign_write_url("local", KEY, size=1, content_type="video/mp4", expires_seconds=60)
    assert (await http.get(writing.url)).status_code == 403


async def test_a_url_is_for_one_key(http: httpx.AsyncClient, url: str) -> None:
    assert (await http.get(url.replace("Tor%201", "Tor%202"))).status_code == 403
    assert (await http.get(url.partition("?")[0])).status_code == 403


async def test_a_url_signed_with_another_key_is_rejected(
    http: httpx.AsyncClient, storage: FolderStorage
) -> None:
    del storage
    forged = UrlSigner(str(http.base_url).rstrip("/"), secrets.token_bytes(32))
    assert (await http.get(forged.sign(Grant("read", "local", KEY), 60).url)).status_code == 403


@pytest.mark.parametrize(
    "key", ["../bob/a.mp4", "a/../../bob/a.mp4", "/etc/passwd", "..%2f..%2fetc/passwd", "a\\b"]
)
async def test_a_signed_url_can_t_leave_the_users_folder(
    http: httpx.AsyncClient, storage: FolderStorage, key: str
) -> None:
    assert storage.url_signer is not None
    signed = storage.url_signer.sign(Grant("read", "local", key), 60)
    assert (await http.get(signed.url)).status_code in (403, 404)


async def test_a_link_out_of_the_folder_is_not_followed(
    http: httpx.AsyncClient, storage: FolderStorage, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    storage.local_path("local", "exports/link.mp4").symlink_to(secret)
    assert storage.url_signer is not None
    signed = storage.url_signer.sign(Grant("read", "local", "exports/link.mp4"), 60)
    assert (await http.get(signed.url)).status_code == 403


async def test_html_is_never_served_as_html(http: httpx.AsyncClient, storage: FolderStorage) -> None:
    storage.local_path("local", "exports/a.html").write_bytes(b"<script>")
    answer = await http.get((await storage.sign_read_url("local", "exports/a.html", expires_seconds=60)).url)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_a_deleted_object_is_answered_404(
    http: httpx.AsyncClient, storage: FolderStorage, url: str
) -> None:
    storage.local_path("local", KEY).unlink()
    assert (await http.get(url)).status_code == 404
