"""Reading sources by presigned URL, also over broken connections and from busy servers."""

import asyncio
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu.errors import ExportError
from gpu.pipeline import run
from gpu.sources.container import open_container
from gpu.sources.source import probe
from gpu.spec import LocalFile, RemoteObject
from gpu.transfer import objects, range_reader
from gpu.transfer.http_client import Clock
from gpu.transfer.range_reader import RangeSource, locate_source
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from tests.gpu.media.numbered_frames import WHOLE, read_numbers
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.gpu.sources.test_discontinuities import write_joined
from tests.support.s3_server import S3Server
from tests.support.videos import Video, clicks, dot, frame_times, write_video

SIZE = 3 * 2**20 + 17
CONTENT = random.Random(1).randbytes(SIZE)  # noqa: S311 - the same bytes each time
Put = Callable[[bytes], str]


@pytest.fixture
def put(s3_server: S3Server) -> Put:
    """Store an object as `ann/source`, and return a URL to it."""
    config = s3_server.client_config()

    async def store(content: bytes) -> str:
        bucket = Bucket(config)
        await bucket.create()
        await bucket.call("put_object", Key="ann/source", Body=content)
        signed = await S3Storage(bucket).sign_read_url("ann", "source", expires_seconds=600)
        await bucket.close()
        s3_server.requests.clear()
        return signed.url

    return lambda content: asyncio.run(store(content))


def write_sample_video(folder: Path) -> Path:
    video = Video(draw=lambda time: dot(50 + 60 * time, 90), times=frame_times(3), tone=clicks(3, 1.0))
    return write_video(folder / "a.mp4", video)


class Pauses(list[float]):
    """A clock that only advances by waiting."""

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: sum(self), sleep=self.append)


def open_and_probe(url: str, pauses: Pauses | None = None, **more: float) -> RangeSource:
    source = RangeSource(url, clock=(Pauses() if pauses is None else pauses).clock(), **more)
    source.probe()
    return source


def test_it_reads_as_the_file_itself_does(put: Put) -> None:
    source = open_and_probe(put(CONTENT))
    reader, expected_reader, rng = source.open(), io.BytesIO(CONTENT), random.Random(2)  # noqa: S311 - the same steps each time
    for _ in range(300):
        if rng.random() < 0.2:
            to = rng.randrange(SIZE + 100)
            assert reader.seek(to) == expected_reader.seek(to)
        wanted = rng.choice([1, 100, 32_768, 300_000])
        chunk = reader.read(wanted)
        assert chunk == expected_reader.read(len(chunk))
        assert bool(chunk) == (reader.tell() < SIZE or bool(chunk))


def test_reading_in_order_takes_few_requests_and_the_whole_is_never_held(
    s3_server: S3Server, put: Put
) -> None:
    content = CONTENT * 8
    source = open_and_probe(put(content))
    reader, received, largest = source.open(), 0, 0
    while chunk := reader.read(32_768):
        received += len(chunk)
        largest = max(largest, sum(len(window.content) for window in reader._windows))
    assert received == len(content)
    assert len(s3_server.requests) < 15
    assert largest <= range_reader.MAX_WINDOWS * range_reader.MAX_WINDOW_BYTES


def test_two_readers_do_not_disturb_each_other(put: Put) -> None:
    source = open_and_probe(put(CONTENT))
    first, second = source.open(), source.open()
    second.seek(SIZE - 5)
    assert first.read(5) == CONTENT[:5]
    assert second.read() == CONTENT[-5:]
    assert second.read() == b""


def test_cut_connections_are_taken_up_where_they_ended(s3_server: S3Server, put: Put) -> None:
    source = open_and_probe(put(CONTENT))
    s3_server.faults.cut_responses, s3_server.faults.cut_after_bytes = 20, 100_000
    s3_server.requests.clear()
    assert source.read_at(5, 2 * 2**20) == CONTENT[5 : 5 + 2 * 2**20]
    requested_ranges = [headers["range"] for _, _, headers in s3_server.requests]
    assert requested_ranges[1] == f"bytes=100005-{5 + 2 * 2**20 - 1}"


def test_a_busy_server_is_asked_again(s3_server: S3Server, put: Put) -> None:
    url, pauses = put(CONTENT), Pauses()
    s3_server.faults.busy_responses = 5
    assert open_and_probe(url, pauses).size == SIZE
    assert len(pauses) == 5


def test_a_server_that_stays_busy_fails_the_attempt_not_the_export(s3_server: S3Server, put: Put) -> None:
    url = put(CONTENT)
    s3_server.faults.busy_responses = 1_000
    with pytest.raises(ExportError) as caught:
        open_and_probe(url)
    assert (caught.value.code, caught.value.transient) == ("source_unavailable", True)


def test_the_deadline_ends_all_trying(s3_server: S3Server, put: Put) -> None:
    url, pauses = put(CONTENT), Pauses()
    s3_server.faults.busy_responses = 1_000
    with pytest.raises(ExportError, match="storage"):
        open_and_probe(url, pauses, deadline_seconds=1.0)
    assert sum(pauses) <= 1.0


def test_a_server_that_is_gone_fails_the_attempt() -> None:
    with pytest.raises(ExportError) as caught:
        open_and_probe("http://127.0.0.1:9/bucket/secret?X-Amz-Signature=secret")
    assert caught.value.transient
    assert "secret" not in f"{caught.value}{caught.value.__cause__}"


def test_a_source_that_is_replaced_is_not_mixed(put: Put, s3_server: S3Server) -> None:
    url = put(CONTENT)
    source = open_and_probe(url)
    bucket_name = url.split("/")[3]

    async def replace() -> None:
        bucket = Bucket(s3_server.client_config(bucket_name))
        await bucket.call("put_object", Key="ann/source", Body=CONTENT[::-1])
        await bucket.close()

    asyncio.run(replace())
    with pytest.raises(ExportError) as caught:
        source.read_at(2**20, 10)
    assert (caught.value.code, caught.value.transient) == ("source_changed", True)


@pytest.mark.parametrize(
    ("change", "code", "transient"),
    [
        pytest.param(
            lambda url: url.replace("/ann/", "/bob/"), "source_forbidden", True, id="another user's"
        ),
        pytest.param(lambda url: url + "0", "source_forbidden", True, id="a forged signature"),
    ],
)
def test_a_url_that_was_changed_opens_nothing(
    put: Put, change: Callable[[str], str], code: str, transient: bool
) -> None:
    with pytest.raises(ExportError) as caught:
        open_and_probe(change(put(CONTENT)))
    assert (caught.value.code, caught.value.transient) == (code, transient)


def test_a_url_that_has_expired_opens_nothing(s3_server: S3Server, put: Put) -> None:
    url = put(CONTENT)
    s3_server.faults.clock_ahead_seconds = 601
    with pytest.raises(ExportError) as caught:
        open_and_probe(url)
    assert (caught.value.code, caught.value.transient) == ("source_forbidden", True)


def test_an_empty_object_is_no_source(put: Put) -> None:
    with pytest.raises(ExportError) as caught:
        open_and_probe(put(b""))
    assert caught.value.code == "source_unreadable"


def test_a_server_without_ranges_is_read_whole_into_scratch(
    s3_server: S3Server, put: Put, tmp_path: Path
) -> None:
    url = put(CONTENT)
    s3_server.faults.supports_ranges = False
    path = locate_source(url, tmp_path)
    assert isinstance(path, str)
    assert Path(path).parent == tmp_path
    assert Path(path).read_bytes() == CONTENT


def test_a_download_that_is_cut_begins_again(s3_server: S3Server, put: Put, tmp_path: Path) -> None:
    source = RangeSource(put(CONTENT), clock=Pauses().clock())
    s3_server.faults.cut_responses, s3_server.faults.cut_after_bytes = 2, 1_000_000
    source.download(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == CONTENT


def test_a_video_is_probed_and_sought_in_place(s3_server: S3Server, put: Put, tmp_path: Path) -> None:
    video_path = write_sample_video(tmp_path)
    url = put(video_path.read_bytes())
    source = probe(objects.open_source("a", {"a": RemoteObject(url=url)}, tmp_path))
    local_source = probe(str(video_path))
    assert (source.width, source.height) == (local_source.width, local_source.height)
    assert source.duration == local_source.duration
    s3_server.faults.cut_responses, s3_server.faults.cut_after_bytes = 3, 1_000
    with open_container(source.path) as remote, open_container(str(video_path)) as local:
        remote.seek(500_000)
        local.seek(500_000)
        assert [packet.pts for packet in remote.demux()] == [packet.pts for packet in local.demux()]


def test_a_joined_recording_is_read_in_place(put: Put, tmp_path: Path) -> None:
    video_path = write_joined(tmp_path / "source.ts", (1.0, 300.0, 1.0))
    url = put(video_path.read_bytes())
    sources: dict[str, LocalFile | RemoteObject] = {"source": RemoteObject(url=url)}
    remote_source = probe(objects.open_source("source", sources, tmp_path))
    local_source = probe(str(video_path))
    assert (remote_source.duration, remote_source.scan) == (local_source.duration, local_source.scan)
    spec = attempt_spec(video_path, tmp_path / "output.mp4", keyframes=WHOLE, trim={"start": 4.6, "end": 5.4})
    remote_spec = spec.model_copy(update={"transfer": spec.transfer.model_copy(update={"sources": sources})})
    run_to_end(run(remote_spec, tmp_path / "scratch"))
    assert read_numbers(tmp_path / "output.mp4")[0] == pytest.approx(115, abs=1)


def test_a_network_that_fails_is_not_taken_for_a_damaged_video(
    s3_server: S3Server, put: Put, tmp_path: Path
) -> None:
    video_path = write_sample_video(tmp_path)
    source = open_and_probe(put(video_path.read_bytes() + bytes(SIZE)))
    s3_server.faults.busy_responses = 1_000
    reader = source.open()
    reader.seek(2 * 2**20)
    with pytest.raises(ExportError) as caught:
        reader.read(10)
    assert caught.value.code == "source_unavailable"
