"""Probes of uploads list their tracks, and are limited in time and number."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gpu.errors import ExportError
from gpu.export_types.registry import parse_config
from gpu.spec import EstimateSpec, LocalFile, RemoteObject
from gpu.transfer.limited_reader import ByteBudget, LimitedSource
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from service.ingest.prober import MAX_WAITING_PER_USER, Prober, TooManyProbes, UnreadableSource
from service.problems import Unavailable
from tests.gpu.sources.stream_films import AudioSpec, VideoSpec, write_streams
from tests.support.fakes import FakeRunner
from tests.support.live_server import free_port, serve_app, settings_on
from tests.support.s3_server import run_s3_server

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(data_dir: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()) as server:
        yield server.http


async def upload(http: httpx.AsyncClient, content: bytes) -> str:
    body = {"filename": "Spiel 1.mp4", "size": len(content), "content_type": "video/mp4"}
    place = (await http.post("/api/uploads", json=body)).json()
    sent = await http.put(place["url"], content=content, headers=place["headers"])
    assert sent.status_code == 201
    return str(place["key"])


async def test_the_tracks_of_an_upload_are_listed(http: httpx.AsyncClient, tmp_path: Path) -> None:
    sounds = AudioSpec(300, language="ger", title="Ton"), AudioSpec(440, "stereo", default=False)
    source = write_streams(
        tmp_path / "source.mkv", VideoSpec(90, (64, 36), 1, "mjpeg"), VideoSpec(200), *sounds
    )
    key = await upload(http, source.read_bytes())

    answer = await http.post(f"/api/uploads/{key}/probe")

    assert answer.status_code == 200
    description = answer.json()
    assert (description["key"], description["size"]) == (key, source.stat().st_size)
    assert description["duration"] == pytest.approx(1.0, abs=0.05)
    assert (description["width"], description["height"], description["fps"]) == (320, 180, 30)
    assert [(each["codec"], each["chosen"]) for each in description["picture_tracks"]] == [
        ("mjpeg", False),
        ("h264", True),
    ]
    names = ("track", "codec", "channels", "language", "title", "default", "chosen", "readable")
    assert [tuple(each[name] for name in names) for each in description["audio_tracks"]] == [
        (0, "aac", 1, "ger", "Ton", True, True, True),
        (1, "aac", 2, None, None, False, False, True),
    ]


async def test_a_file_that_is_no_video_gets_the_error_of_an_export(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"/api/uploads/{await upload(http, b'no film' * 99)}/probe")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:framehook:problem:source_unreadable")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "key", ["uploads/none/a.mp4", "exports/a.mp4", "uploads/..%2F..%2Fframehook.db", "a"]
)
async def test_only_the_users_own_uploads_are_probed(http: httpx.AsyncClient, key: str) -> None:
    assert (await http.post(f"/api/uploads/{key}/probe")).status_code == 404


async def test_a_probe_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    source = write_streams(tmp_path / "source.mp4", VideoSpec(90))
    with pytest.raises(UnreadableSource) as caught:
        await Prober(seconds=0.001).probe("ann", LocalFile(path=str(source)))
    assert caught.value.code == "probe_timeout"


async def test_probes_are_limited_per_user(tmp_path: Path) -> None:
    source = LocalFile(path=str(write_streams(tmp_path / "source.mp4", VideoSpec(90))))
    prober = Prober(slots=2)
    probes = [asyncio.create_task(prober.probe("ann", source)) for _ in range(MAX_WAITING_PER_USER)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyProbes):
        await prober.probe("ann", source)
    first = asyncio.create_task(prober.probe("bob", source))
    await asyncio.wait([first, *probes], return_when=asyncio.FIRST_COMPLETED)
    await first
    assert sum(probe.done() for probe in probes) < MAX_WAITING_PER_USER
    for probe in probes:
        probe.cancel()
    await asyncio.gather(*probes, return_exceptions=True)
    assert (await prober.probe("ann", source))["width"] == 320


async def test_an_object_that_is_temporarily_unavailable_can_be_probed_again() -> None:
    prober = Prober(seconds=0.5)
    with pytest.raises((Unavailable, UnreadableSource)):
        await prober.probe("ann", RemoteObject(url=f"http://127.0.0.1:{free_port()}/a"))


async def test_an_object_in_a_bucket_is_probed_without_reading_all_of_it(tmp_path: Path) -> None:
    source = write_streams(tmp_path / "source.mp4", VideoSpec(90), AudioSpec(300))
    with run_s3_server() as s3_server:
        bucket = Bucket(s3_server.client_config())
        await bucket.create()
        await bucket.call("put_object", Key="ann/source", Body=source.read_bytes())
        url = (await S3Storage(bucket).sign_read_url("ann", "source", expires_seconds=60)).url
        await bucket.close()
        description = await Prober().probe("ann", RemoteObject(url=url))
        config = parse_config("overlay", {"input_key": "source"})
        spec = EstimateSpec(type="overlay", config=config, sources={"source": RemoteObject(url=url)})
        planned = await Prober().estimate("ann", spec)
        bounded = LimitedSource(url, budget=ByteBudget(1), deadline_seconds=9)
        await asyncio.to_thread(bounded.probe)
        with pytest.raises(ExportError) as caught:
            await asyncio.to_thread(bounded.read_at, 1, 9)
    assert [track["codec"] for track in description["audio_tracks"]] == ["aac"]
    assert caught.value.code == "too_much_to_read"
    assert planned["source"] == {name: description[name] for name in planned["source"]}
    assert (planned["output"]["width"], planned["output"]["duration"]) == (320, 1.0)
