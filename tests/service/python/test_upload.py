"""Large files are uploaded in parallel parts, which are retried and can be resumed."""

import asyncio
import hashlib
import os
import random
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from framehook import FramehookError
from framehook.transfers.resume_state import ResumeState
from infra.storage import FolderStorage
from infra.storage.client import Bucket
from service.settings import Settings
from tests.service.cli.commands import export_command, run
from tests.service.python.any_client import AnyClient, ClientFactory
from tests.support.fakes import FakeRunner
from tests.support.live_server import LiveServer, ScriptedResponse, serve_app, serve_script
from tests.support.s3_server import S3Faults, S3Server
from tests.support.storage_harness import settings_for_storage, settings_with_bucket
from tests.support.videos import Video, dot, frame_times, write_video

pytestmark = pytest.mark.anyio
MIB = 2**20
CONTENT = random.Random(5).randbytes(33 * MIB)  # noqa: S311 - five parts, the same bytes in each run
PARTS = 5


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "Spiel 1.mp4"
    path.write_bytes(CONTENT)
    return path


def append_padding(video: Path, size: int) -> None:
    """Append a box to an MP4 file that players skip, so that the file has this size."""
    padding = size - video.stat().st_size
    with video.open("ab") as file:
        file.write(struct.pack(">I4s", padding, b"free") + CONTENT[: padding - 8])


@pytest.fixture
async def settings(s3_server: S3Server, data_dir: Path) -> Settings:
    return await settings_with_bucket(s3_server, data_dir)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[LiveServer]:
    """A service that stores files in a bucket."""
    async with serve_app(settings, FakeRunner()) as server:
        yield server


class Interrupted(Exception):
    """Raised by a callback to end an upload."""


class Uploader:
    """A client that records its progress; it is interrupted when that exceeds `until`."""

    def __init__(self, client: AnyClient, *, until: float = 2.0) -> None:
        self.client = client
        self.progress: list[float] = []
        self._until = until

    async def upload(self, film: Path) -> str:
        key: str = await self.client.call("upload", film, on_progress=self._on_bytes)
        return key

    def _on_bytes(self, done: int, total: int) -> None:
        self.progress.append(done / total)
        if done / total > self._until:
            raise Interrupted


def list_uploaded_parts(s3_server: S3Server) -> list[str]:
    return [path for method, path, _ in s3_server.requests if method == "PUT" and "partNumber=" in path]


async def digest_of(settings: Settings, s3_server: S3Server, key: str) -> str:
    """Return the SHA-256 of the stored file."""
    if settings.r2_bucket_name is None:
        return hashlib.sha256(
            FolderStorage(settings.data_dir).local_path("local", key).read_bytes()
        ).hexdigest()
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    response = await bucket.call("get_object", Key=f"local/{key}")
    content = await bucket.run(response["Body"].read)
    await bucket.close()
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_a_large_file_arrives_complete_and_its_progress_is_shown(
    clients: ClientFactory, kind: str, s3_server: S3Server, data_dir: Path, film: Path
) -> None:
    settings = await settings_for_storage(kind, s3_server, data_dir)
    async with serve_app(settings, FakeRunner()) as server:
        uploader = Uploader(clients.open(server.url))
        key = await uploader.upload(film)
    assert await digest_of(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert uploader.progress == sorted(uploader.progress)
    assert (uploader.progress[0] < 0.02, uploader.progress[-1]) == (True, 1.0)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(S3Faults(cut_requests=6, cut_after_bytes=3_000_000), id="cut"),
        pytest.param(S3Faults(busy_part_responses=12), id="rejected by a busy storage"),
        pytest.param(S3Faults(expired_writes=3), id="sent to expired URLs"),
        pytest.param(S3Faults(lost_writes=2), id="lost after a success response"),
    ],
)
async def test_parts_that_do_not_arrive_are_retried(
    clients: ClientFactory,
    server: LiveServer,
    settings: Settings,
    s3_server: S3Server,
    film: Path,
    faults: S3Faults,
) -> None:
    s3_server.faults = replace(faults)  # they are counted down
    key = await Uploader(clients.open(server.url)).upload(film)
    s3_server.faults = S3Faults()
    assert await digest_of(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert len(list_uploaded_parts(s3_server)) > PARTS


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        pytest.param(S3Faults(cut_requests=10_000), "the connection broke", id="cut"),
        pytest.param(S3Faults(busy_part_responses=10_000), "503", id="busy"),
        pytest.param(
            S3Faults(expired_writes=10_000), "the storage answered 403.*: AccessDenied", id="rejected"
        ),
        pytest.param(S3Faults(lost_writes=10_000), "does not keep the uploaded parts", id="losing all parts"),
    ],
)
async def test_a_storage_that_accepts_nothing_fails_the_upload_and_nothing_is_stored(
    clients: ClientFactory,
    server: LiveServer,
    s3_server: S3Server,
    film: Path,
    faults: S3Faults,
    message: str,
) -> None:
    s3_server.faults = replace(faults)
    with pytest.raises(FramehookError, match=message) as error:
        await Uploader(clients.open(server.url)).upload(film)
    assert "Signature" not in str(error.value)
    s3_server.faults = S3Faults()
    assert "complete" not in {path.rpartition("/")[2] for _, path, _ in s3_server.requests}
    completions = [path for method, path, _ in s3_server.requests if method == "POST" and "uploadId=" in path]
    assert completions == []


async def test_an_interrupted_upload_is_resumed(
    clients: ClientFactory, server: LiveServer, settings: Settings, s3_server: S3Server, film: Path
) -> None:
    # four parts are uploaded in parallel, and the last is the smallest: it begins when another has arrived
    with pytest.raises(Interrupted):
        await Uploader(clients.open(server.url), until=0.975).upload(film)
    (upload_id,) = {
        path.partition("uploadId=")[2].partition("&")[0] for path in list_uploaded_parts(s3_server)
    }
    token = ResumeState(clients.folder).load_upload(server.url, film)
    arrived = (await server.http.get(f"/api/uploads/{token}")).json()["arrived"]
    assert arrived != []
    s3_server.requests.clear()
    uploader = Uploader(clients.open(server.url))
    key = await uploader.upload(film)
    assert {path.partition("uploadId=")[2].partition("&")[0] for path in list_uploaded_parts(s3_server)} == {
        upload_id
    }
    # the server may log a part late whose upload was interrupted, but none that had arrived
    assert not any(
        f"partNumber={number}&" in path for number in arrived for path in list_uploaded_parts(s3_server)
    )
    assert uploader.progress[0] >= (len(arrived) - 0.5) / PARTS
    assert await digest_of(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert ResumeState(clients.folder).load_upload(server.url, film) is None


async def test_a_changed_file_is_uploaded_from_the_start(
    clients: ClientFactory,
    server: LiveServer,
    settings: Settings,
    s3_server: S3Server,
    film: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(Interrupted):
        await Uploader(clients.open(server.url), until=0.6).upload(film)
    changed = CONTENT[:-1] + b"!"
    await asyncio.to_thread(film.write_bytes, changed)
    os.utime(film, ns=(1, 1))
    key = await Uploader(clients.open(server.url)).upload(film)
    assert await digest_of(settings, s3_server, key) == hashlib.sha256(changed).hexdigest()


async def test_an_upload_that_the_service_has_deleted_starts_over(
    clients: ClientFactory,
    server: LiveServer,
    settings: Settings,
    s3_server: S3Server,
    film: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(Interrupted):
        await Uploader(clients.open(server.url), until=0.3).upload(film)
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    (upload,) = await bucket.list_all("list_multipart_uploads", "Uploads")
    await bucket.call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
    await bucket.close()
    key = await Uploader(clients.open(server.url)).upload(film)
    assert await digest_of(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()


async def test_a_file_that_changes_during_the_upload_is_not_stored(
    clients: ClientFactory, server: LiveServer, s3_server: S3Server, film: Path
) -> None:
    uploader = Uploader(clients.open(server.url))

    def change_file(done: int, total: int) -> None:
        if done == total:
            os.utime(film, ns=(1, 1))

    with pytest.raises(FramehookError, match="changed during the upload"):
        await uploader.client.call("upload", film, on_progress=change_file)
    assert [path for method, path, _ in s3_server.requests if method == "POST" and "uploadId=" in path] == []


async def test_a_service_that_returns_parts_gets_parts_even_for_a_small_file(
    clients: ClientFactory, tmp_path: Path
) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(b"0123456789")

    def place(storage: str, *missing: int) -> ScriptedResponse:
        parts = [
            {"number": number, "size": 4 if number < 3 else 2, "url": f"{storage}/{number}"}
            for number in missing
        ]
        arrived = sorted({1, 2, 3} - set(missing))
        shown = {"key": "k", "upload": "u", "part_size": 4, "arrived": arrived, "parts": parts}
        return ScriptedResponse(201, body=msgspec.json.encode(shown))

    with serve_script(ScriptedResponse(200)) as storage:
        answers = (
            place(storage.url, 1, 2, 3),
            place(storage.url),
            ScriptedResponse(201, body=b'{"key": "k"}'),
        )
        with serve_script(*answers) as service:
            assert await clients.open(service.url, "a-token").call("upload", film) == "k"
    assert sorted((request.path, request.body) for request in storage.requests) == [
        ("/1", b"0123"),
        ("/2", b"4567"),
        ("/3", b"89"),
    ]
    assert not any("authorization" in request.headers for request in storage.requests)
    assert [request.path for request in service.requests] == [
        "/api/uploads",
        "/api/uploads/u",
        "/api/uploads/u/complete",
    ]


async def test_an_unavailable_service_keeps_the_resume_state(clients: ClientFactory, film: Path) -> None:
    shown = {"key": "k", "upload": "u", "part_size": 8 * MIB, "parts": [{"number": 1, "size": 1, "url": "x"}]}
    with serve_script(
        ScriptedResponse(201, body=msgspec.json.encode(shown)), ScriptedResponse(503)
    ) as service:
        for _ in range(2):
            with pytest.raises(FramehookError):
                await clients.open(service.url).call("upload", film)
        assert ResumeState(clients.folder).load_upload(service.url, film) is not None
    assert len([request for request in service.requests if request.method == "POST"]) == 1


async def test_the_command_says_how_to_resume_and_resumes(
    server: LiveServer, s3_server: S3Server, film: Path, tmp_path: Path
) -> None:
    write_video(film, Video(draw=lambda time: dot(40 + 90 * time, 90), times=frame_times(0.5)))
    append_padding(film, len(CONTENT))
    environment = {"FRAMEHOOK_URL": server.url, "XDG_STATE_HOME": str(tmp_path / "state")}
    s3_server.faults = S3Faults(expired_writes=10_000)
    cut = await asyncio.to_thread(lambda: run(*export_command(film), **environment))
    assert (cut.status, cut.out) == (4, "")
    assert cut.err.endswith("\n  run the same command again to resume the upload\n")
    s3_server.faults = S3Faults()
    done = await asyncio.to_thread(lambda: run(*export_command(film), **environment))
    assert done.status == 0, done.err
    assert "Resuming an interrupted upload." in done.err
    assert "uploading   100.0 %  33.0 of 33.0 MiB" in done.err
