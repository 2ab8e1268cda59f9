"""The client against the service on a real socket, and against servers that misbehave."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framehook import Client, ClientError, Export, RequestRejected, Unreachable
from framehook.http_client import HttpClient
from framehook.models import content_type, is_named_as_video
from service.api.transfers.uploads import UNKNOWN_SUFFIXES, UNKNOWN_TYPE, VIDEO_TYPES
from tests.support.fakes import FakeRun
from tests.support.live_server import (
    FRAMING,
    PROBLEM,
    DurableRunner,
    ScriptedResponse,
    export_state,
    fast_client,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)
from tests.support.small_mp4 import make_video


class Watching:
    """A thread that watches an export, with a queue of its states."""

    def __init__(
        self, client: Client, job_id: str, on_disconnect: Callable[[str], object] = lambda _: None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._seen: asyncio.Queue[Export] = asyncio.Queue()

        def watch() -> None:
            for export in client.watch(job_id, on_disconnect):
                loop.call_soon_threadsafe(self._seen.put_nowait, export)

        self.ended = asyncio.create_task(asyncio.to_thread(watch))

    async def until(self, wanted: Callable[[Export], bool]) -> Export:
        async with asyncio.timeout(10):
            while True:
                export = await self._seen.get()
                if wanted(export):
                    return export


def ignore_progress(_done: int, _total: int) -> None:
    """Ignore progress."""


async def test_a_file_is_uploaded_exported_watched_and_downloaded(data_dir: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "match.mov", tmp_path / "out.mp4"
    source.write_bytes(bytes(700_000))
    content = make_video(b"the exported video" * 40_000)
    moved: list[tuple[int, int]] = []
    async with serve_app(settings_on(free_port(), data_dir), DurableRunner()) as server:
        with Client(server.url) as client:
            key = await asyncio.to_thread(client.upload, source, lambda *progress: moved.append(progress))
            job = await asyncio.to_thread(client.submit, "framing", {**FRAMING, "input_key": key})
            watching = Watching(client, job.job_id)
            run = await server.next_run()
            await run.report_started()
            await run.report_progress(42)
            await watching.until(lambda export: export.progress == 42)
            server.write_output(run, content)
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            await run.report_completed(size=len(content), checksum=checksum)
            ended = await watching.until(lambda export: export.final)
            await watching.ended
            await asyncio.to_thread(client.download, ended, target, ignore_progress)
    assert (moved[0], moved[-1]) == ((262_144, 700_000), (700_000, 700_000))
    assert (ended.status, target.read_bytes() == content) == ("complete", True)
    assert not target.with_name("out.mp4.part").exists()


async def test_a_watch_survives_a_restart_of_the_service(data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(b"video")
    settings, runner = settings_on(free_port(), data_dir), DurableRunner()
    back, gone = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    client = Client(settings.origin, sleep=lambda _seconds: back.wait(10))
    with client:
        async with serve_app(settings, runner) as server:
            key = await asyncio.to_thread(client.upload, source, ignore_progress)
            job = await asyncio.to_thread(client.submit, "framing", {**FRAMING, "input_key": key})
            watching = Watching(client, job.job_id, lambda _why: loop.call_soon_threadsafe(gone.set))
            run = await server.next_run()
            await run.report_progress(30)
            await watching.until(lambda export: export.progress == 30)
        await asyncio.wait_for(gone.wait(), 10)
        async with serve_app(settings, runner) as server:
            back.set()
            again = FakeRun(run.spec, server.http)
            again.step = run.step
            await again.report_failed()
            ended = await watching.until(lambda export: export.final)
            await watching.ended
    assert (ended.status, ended.error and ended.error.code) == ("error", "no_video")


async def test_a_finished_export_is_yielded_once(data_dir: Path, tmp_path: Path) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(b"video")
    async with serve_app(settings_on(free_port(), data_dir), DurableRunner()) as server:
        with Client(server.url) as client:
            key = await asyncio.to_thread(client.upload, source, ignore_progress)
            job = await asyncio.to_thread(client.submit, "framing", {**FRAMING, "input_key": key})
            await asyncio.to_thread(client.cancel, job.job_id)
            seen = await asyncio.to_thread(lambda: list(client.watch(job.job_id)))
            again = await asyncio.to_thread(client.retry, job.job_id)
    assert [export.status for export in seen] == ["cancelled"]
    assert again.status == "pending"


def test_a_list_reads_as_many_pages_as_needed() -> None:
    first = {"exports": [export_state(9 - n) for n in range(3)], "next_cursor": "c 1"}
    second = {"exports": [export_state(5)], "next_cursor": "c2"}
    pages = [ScriptedResponse(body=msgspec.json.encode(page)) for page in (first, second)]
    with serve_script(*pages) as script, fast_client(script) as client:
        page = client.list_recent(4, status="error")
    assert ([export.sequence for export in page.exports], page.next_cursor) == ([9, 8, 7, 5], "c2")
    assert [request.path for request in script.requests] == [
        "/api/exports?status=error&limit=4",
        "/api/exports?status=error&limit=1&cursor=c+1",
    ]


def test_a_submission_whose_response_is_lost_is_retried_with_the_same_key() -> None:
    job = ScriptedResponse(202, body=msgspec.json.encode(export_state(1, "pending")))
    with (
        serve_script(ScriptedResponse(None), ScriptedResponse(503), job) as script,
        fast_client(script) as client,
    ):
        assert client.submit("framing", FRAMING).sequence == 1
    keys = {request.headers["idempotency-key"] for request in script.requests}
    assert (len(script.requests), len(keys), len({request.body for request in script.requests})) == (3, 1, 1)


def test_the_token_is_sent_to_the_service_only(tmp_path: Path) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(b"video")
    with serve_script(ScriptedResponse(200)) as storage:
        place = {
            "key": "k",
            "url": storage.url + "/bucket?signed",
            "method": "PUT",
            "headers": {"X-Kind": "v"},
        }
        granted = ScriptedResponse(201, body=json.dumps(place | {"expires_at": "later"}).encode())
        with serve_script(granted) as service, Client(service.url, "a-token") as client:
            assert client.upload(source, ignore_progress) == "k"
    assert service.requests[0].headers["authorization"] == "Bearer a-token"
    assert "authorization" not in storage.requests[0].headers
    assert (storage.requests[0].headers["x-kind"], storage.requests[0].body) == ("v", b"video")


def test_a_download_with_a_wrong_checksum_is_deleted(tmp_path: Path) -> None:
    output: Any = {
        "size": 5,
        "checksum": "sha256:" + "0" * 64,
        "duration": 1,
        "width": 2,
        "height": 2,
        "url": "",
    }
    job = msgspec.convert(msgspec.to_builtins(export_state(1, "complete")) | {"output": output}, Export)
    with (
        serve_script(ScriptedResponse(body=b"other")) as script,
        fast_client(script) as client,
        pytest.raises(ClientError, match="the checksum of the downloaded file"),
    ):
        client.download(job, tmp_path / "out.mp4", ignore_progress)
    assert list(tmp_path.iterdir()) == []


def test_a_rejection_shows_its_field_errors_and_a_proxys_response_its_status() -> None:
    errors = [{"loc": ["config", "fps"], "msg": "too low"}, {"loc": ["config", 1], "msg": "odd"}]
    problem = json.dumps({"detail": "config.fps: too low", "errors": errors}).encode()
    answers = (ScriptedResponse(422, PROBLEM, problem), ScriptedResponse(403, body=b"<html>"))
    with serve_script(*answers) as script, fast_client(script) as client:
        with pytest.raises(RequestRejected) as first:
            client.get("job-1")
        with pytest.raises(RequestRejected) as second:
            client.get("job-1")
    assert str(first.value) == "config.fps: too low\n  config.1: odd"
    assert str(second.value) == "the service answered 403 Forbidden"


def test_a_response_of_another_server_advises_to_check_the_url() -> None:
    advice = "check that --server or FRAMEHOOK_URL is the URL of the service"
    with (
        serve_script(ScriptedResponse(404, body=b"<html>")) as script,
        fast_client(script) as client,
        pytest.raises(RequestRejected, match=f"404 Not Found; {advice}"),
    ):
        client.get("job-1")


def test_advice_to_start_the_service_is_given_for_the_service_only() -> None:
    http = HttpClient("http://127.0.0.1:99", None, sleep=lambda _seconds: None, jitter=float)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:99 can't be reached: .*; start it with"):
        http.request("GET", "/api/exports")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 can't be reached: [^;]*$"):
        http.send("PUT", "http://127.0.0.1:9/upload", {}, lambda: [b"x"])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://me:secret@host",
        "http://host:port",
        "http://h?x=1",
    ],
)
def test_an_invalid_url_of_the_service_is_rejected(url: str) -> None:
    with pytest.raises(ClientError, match="must look like") as error:
        Client(url)
    assert "secret" not in str(error.value)


def test_an_invalid_token_is_rejected_without_being_quoted() -> None:
    with pytest.raises(ClientError) as error:
        Client("http://127.0.0.1", "sec\nret")
    assert "sec" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.MP4", "video/mp4"),
        ("a.mkv", "video/x-matroska"),
        ("a.ts", "video/mp2t"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_suffix_gives_the_media_type(name: str, expected: str) -> None:
    assert content_type(Path(name)) == expected


def test_every_media_type_that_the_service_accepts_has_a_suffix_of_a_video() -> None:
    named = {content_type(Path(f"a{suffix}")) for suffix in (".gif", ".apng", ".mxf", ".nut", ".mp4", ".y4m")}
    assert named <= VIDEO_TYPES | {UNKNOWN_TYPE}
    assert all(
        is_named_as_video(Path(f"a{suffix}")) for suffix in (*UNKNOWN_SUFFIXES, ".gif", ".APNG", ".mxf")
    )


@pytest.mark.parametrize("name", ["a", "a.txt", "a.png", "a.mp3", "a.zip"])
def test_other_suffixes_are_not_videos(name: str) -> None:
    assert not is_named_as_video(Path(name))
