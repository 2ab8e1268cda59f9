"""Large files go in parts: side by side, again where they were cut, and on with them after an end of the program."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from infra.storage import FolderStorage
from infra.storage.client import Bucket
from service.client import Client, ClientError, RequestRejected
from service.settings import Settings
from tests.service.cli.test_commands import exporting, run
from tests.support.fakes import FakeRunner
from tests.support.live_server import LiveServer, ScriptedResponse, serve_app, serve_script
from tests.support.s3_server import S3Faults, S3Server
from tests.support.storage_harness import settings_for_storage, settings_with_bucket

pytestmark = pytest.mark.anyio
MIB = 2**20
CONTENT = random.Random(5).randbytes(33 * MIB)  # noqa: S311 - five parts, the same bytes each time
PARTS = 5


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "Spiel 1.mp4"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
async def settings(s3_server: S3Server, data_dir: Path) -> Settings:
    return await settings_with_bucket(s3_server, data_dir)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[LiveServer]:
    """A service whose files are in a bucket."""
    async with serve_app(settings, FakeRunner()) as server:
        yield server


class Sender:
    """A user's program, which waits for nothing; what it has shown, and when it is to be interrupted."""

    def __init__(self, url: str, folder: Path | None = None, *, until: float = 2.0) -> None:
        self.client = Client(url, resume_folder=folder, sleep=lambda _seconds: None)
        self.shown: list[float] = []
        self._until = until

    async def sends(self, film: Path) -> str:
        with self.client:
            return await asyncio.to_thread(self.client.upload, film, self._moved)

    def _moved(self, done: int, total: int) -> None:
        self.shown.append(done / total)
        if done / total > self._until:
            raise KeyboardInterrupt


def sent_parts(s3_server: S3Server) -> list[str]:
    return [path for method, path, _ in s3_server.requests if method == "PUT" and "partNumber=" in path]


async def kept(settings: Settings, s3_server: S3Server, key: str) -> str:
    """The digest of what is stored."""
    if settings.r2_bucket_name is None:
        return hashlib.sha256(
            FolderStorage(settings.data_dir).local_path("local", key).read_bytes()
        ).hexdigest()
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    found = await bucket.call("get_object", Key=f"local/{key}")
    content = await bucket.run(found["Body"].read)
    await bucket.close()
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_a_large_file_arrives_whole_and_its_progress_is_shown(
    kind: str, s3_server: S3Server, data_dir: Path, film: Path
) -> None:
    settings = await settings_for_storage(kind, s3_server, data_dir)
    async with serve_app(settings, FakeRunner()) as server:
        sender = Sender(server.url)
        key = await sender.sends(film)
    assert await kept(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert sender.shown == sorted(sender.shown)
    assert (sender.shown[0] < 0.02, sender.shown[-1]) == (True, 1.0)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(S3Faults(cut_requests=6, cut_after_bytes=3_000_000), id="cut"),
        pytest.param(S3Faults(busy_part_responses=12), id="turned away by a busy store"),
        pytest.param(S3Faults(expired_writes=3), id="sent to URLs that are too old"),
        pytest.param(S3Faults(lost_writes=2), id="kept by word only"),
    ],
)
async def test_parts_that_do_not_arrive_are_sent_again(
    server: LiveServer, settings: Settings, s3_server: S3Server, film: Path, faults: S3Faults
) -> None:
    s3_server.faults = faults
    key = await Sender(server.url).sends(film)
    s3_server.faults = S3Faults()
    assert await kept(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert len(sent_parts(s3_server)) > PARTS


@pytest.mark.parametrize(
    ("faults", "trouble"),
    [
        pytest.param(S3Faults(cut_requests=10_000), "the connection broke", id="cut"),
        pytest.param(S3Faults(busy_part_responses=10_000), "503", id="busy"),
        pytest.param(
            S3Faults(expired_writes=10_000), "the storage answered 403.*: AccessDenied", id="refused"
        ),
        pytest.param(
            S3Faults(lost_writes=10_000), "does not keep the uploaded parts", id="losing everything"
        ),
    ],
)
async def test_a_store_that_takes_nothing_is_given_up_and_nothing_is_there(
    server: LiveServer, s3_server: S3Server, film: Path, faults: S3Faults, trouble: str
) -> None:
    s3_server.faults = faults
    with pytest.raises(ClientError, match=trouble) as told:
        await Sender(server.url).sends(film)
    assert "Signature" not in str(told.value)
    s3_server.faults = S3Faults()
    assert "complete" not in {path.rpartition("/")[2] for _, path, _ in s3_server.requests}
    joined = [path for method, path, _ in s3_server.requests if method == "POST" and "uploadId=" in path]
    assert joined == []


async def test_a_program_that_was_ended_goes_on_where_it_was(
    server: LiveServer, settings: Settings, s3_server: S3Server, film: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "state"
    # four of the five parts are sent at once, so that one of them is surely there by then
    with pytest.raises(KeyboardInterrupt):
        await Sender(server.url, memory, until=0.9).sends(film)
    (begun,) = {path.partition("uploadId=")[2].partition("&")[0] for path in sent_parts(s3_server)}
    s3_server.requests.clear()
    sender = Sender(server.url, memory)
    assert sender.client.can_resume(film)
    key = await sender.sends(film)
    assert {path.partition("uploadId=")[2].partition("&")[0] for path in sent_parts(s3_server)} == {begun}
    assert len(sent_parts(s3_server)) < PARTS
    assert sender.shown[0] > 0.2
    assert await kept(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()
    assert not Client(server.url, resume_folder=memory).can_resume(film)
    assert list(memory.iterdir()) == []


async def test_a_file_that_is_another_by_now_begins_anew(
    server: LiveServer, settings: Settings, s3_server: S3Server, film: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        await Sender(server.url, memory, until=0.6).sends(film)
    changed = CONTENT[:-1] + b"!"
    await asyncio.to_thread(film.write_bytes, changed)
    os.utime(film, ns=(1, 1))
    key = await Sender(server.url, memory).sends(film)
    assert await kept(settings, s3_server, key) == hashlib.sha256(changed).hexdigest()


async def test_an_upload_that_the_service_knows_no_more_begins_anew(
    server: LiveServer, settings: Settings, s3_server: S3Server, film: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        await Sender(server.url, memory, until=0.3).sends(film)
    bucket = Bucket(s3_server.client_config(settings.r2_bucket_name))
    (found,) = await bucket.pages("list_multipart_uploads", "Uploads")
    await bucket.call("abort_multipart_upload", Key=found["Key"], UploadId=found["UploadId"])
    await bucket.close()
    key = await Sender(server.url, memory).sends(film)
    assert await kept(settings, s3_server, key) == hashlib.sha256(CONTENT).hexdigest()


async def test_a_file_that_changes_on_its_way_is_not_stored(
    server: LiveServer, s3_server: S3Server, film: Path
) -> None:
    sender = Sender(server.url)
    changing = sender.client

    def moved(done: int, total: int) -> None:
        if done == total:
            os.utime(film, ns=(1, 1))

    with changing, pytest.raises(ClientError, match="changed during the upload"):
        await asyncio.to_thread(changing.upload, film, moved)
    assert [path for method, path, _ in s3_server.requests if method == "POST" and "uploadId=" in path] == []


def test_a_service_that_wants_parts_gets_them_whatever_was_asked_for(tmp_path: Path) -> None:
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
        with serve_script(*answers) as service, Client(service.url, "a-token") as client:
            assert client.upload(film, lambda _done, _total: None) == "k"
    assert sorted((asked.path, asked.body) for asked in storage.requests) == [
        ("/1", b"0123"),
        ("/2", b"4567"),
        ("/3", b"89"),
    ]
    assert not any("authorization" in asked.headers for asked in storage.requests)
    assert [asked.path for asked in service.requests] == [
        "/api/uploads",
        "/api/uploads/u",
        "/api/uploads/u/complete",
    ]


def test_a_service_that_is_away_forgets_nothing(film: Path, tmp_path: Path) -> None:
    memory = tmp_path / "state"
    shown = {"key": "k", "upload": "u", "part_size": 8 * MIB, "parts": [{"number": 1, "size": 1, "url": "x"}]}
    with serve_script(
        ScriptedResponse(201, body=msgspec.json.encode(shown)), ScriptedResponse(503)
    ) as service:
        for _ in range(2):
            with (
                Client(service.url, resume_folder=memory, sleep=lambda _seconds: None) as client,
                pytest.raises((RequestRejected, ClientError)),
            ):
                client.upload(film, lambda _done, _total: None)
        assert Client(service.url, resume_folder=memory).can_resume(film)
    assert len([asked for asked in service.requests if asked.method == "POST"]) == 1


async def test_the_command_says_how_to_go_on_and_does(
    server: LiveServer, s3_server: S3Server, film: Path, tmp_path: Path
) -> None:
    environment = {"FRAMEHOOK_URL": server.url, "XDG_STATE_HOME": str(tmp_path / "state")}
    s3_server.faults = S3Faults(expired_writes=10_000)
    cut = await asyncio.to_thread(lambda: run(*exporting(film), **environment))
    assert (cut.status, cut.out) == (2, "")
    assert cut.err.endswith("; run the same command again to resume the upload\n")
    s3_server.faults = S3Faults()
    done = await asyncio.to_thread(lambda: run(*exporting(film), **environment))
    assert done.status == 0, done.err
    assert "Resuming an interrupted upload." in done.err
    assert "uploading   100.0 %  33.0 of 33.0 MiB" in done.err
