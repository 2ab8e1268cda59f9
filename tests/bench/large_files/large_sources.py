"""What a source of more than 2 GB costs in memory, and when its reading starts.

Functions run as processes behind a local Modal control plane and see no files: sources and outputs travel by
signed URLs over a link of a network's bandwidth, from the service's folder or a bucket. The film is like a
camera's: every frame a keyframe, repeated by stream copy, its index at the end.
"""

import asyncio
import hmac
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from infra.storage.client import Bucket, S3Config
from infra.storage.s3 import S3Storage
from infra.storage.signed import Grant, UrlSigner
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.large_files.large_client import TimedState, User
from tests.bench.measure.bandwidth_limit import Link, limit_bandwidth
from tests.bench.measure.peak_memory import read_memory, watch_peak
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import SECRET, Server, run_server, serve_framehook
from tests.bench.modal.in_flight import start_control_plane
from tests.bench.video.memory import repeat_film
from tests.bench.video.peers import ROOT, prepare_film
from tests.support.live_server import free_port

INTRA = {"preset": "ultrafast", "qp": "18", "g": "1"}
CROP = {"x": 656, "y": 0, "width": 607, "height": 1080}
URL_SECONDS = 3_600
MEBIBYTE = 2**20
BYTES_PER_SECOND = 125e6  # of the link: a gigabit's

Done = TypeVar("Done")


@dataclass
class Site:
    """A running service, the link that all large files use, and how a source is read over it."""

    user: User
    server: Server
    link: Link
    readable: Callable[[str], str]
    idle: int = 0


class Recorder:
    """Records what the service costs, step by step; the names of steps begin with the storage's."""

    def __init__(self, site: Site, samples: Samples, storage: str) -> None:
        self._site = site
        self._samples = samples
        self._storage = storage

    def run(self, name: str, work: Callable[[], Done]) -> tuple[Done, float]:
        """Run a step; record its time and the peak of the service's own memory over idle."""
        begun = time.monotonic()
        with watch_peak(self._site.server.process.pid) as peak:
            done = work()
        took = time.monotonic() - begun
        self.add(name, took, (peak.own - self._site.idle) / MEBIBYTE)
        return done, took

    def add(self, name: str, seconds: float, over_idle: float | None = None) -> None:
        variant = f"{self._storage}: {name}"
        self._samples.add(variant, "time", seconds, "s")
        if over_idle is not None:
            self._samples.add(variant, "memory over idle", over_idle, "MiB")


def run(options: Options) -> list[Figure]:
    """Measure with both storages."""
    seconds, times = options.sizes["seconds"], options.sizes["repetitions"]
    samples = Samples()
    short = prepare_film(seconds, options=INTRA)
    film = repeat_film(short, times)
    for storage, open_site in alternate(list(PLACES.items()), options.rounds):
        with (
            tempfile.TemporaryDirectory(prefix="large-", dir=ROOT) as folder,
            open_site(Path(folder), BYTES_PER_SECOND) as site,
        ):
            measure(site, Recorder(site, samples, storage), short, film, seconds, times)
    film.unlink()
    return samples.to_figures()


@contextmanager
def open_with_folder(folder: Path, width: float) -> Iterator[Site]:
    """Put the service and its files behind the link."""
    port = free_port()
    with (
        start_control_plane(folder / "plane", hold_calls=False) as modal,
        limit_bandwidth(port, width) as link,
    ):
        here = f"http://127.0.0.1:{port}"
        settings = {"MODAL_ENABLED": "true", "PUBLIC_URL": link.url, "CALLBACK_URL": here}
        urls = UrlSigner(link.url, hmac.digest(SECRET.encode(), b"files", "sha256"))
        environment = modal.environment | settings
        with serve_framehook(folder / "var", environment, port=port) as server, User(here) as user:
            yield Site(
                user, server, link, lambda key: urls.sign(Grant("read", "local", key), URL_SECONDS).url
            )


@contextmanager
def open_with_bucket(folder: Path, width: float) -> Iterator[Site]:
    """Put the bucket behind the link and the service here."""
    port, behind = free_port(), free_port()
    (folder / "objects").mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.bench.large_files.bucket_server",
        str(behind),
        str(folder / "objects"),
    ]
    with (
        start_control_plane(folder / "plane", hold_calls=False) as modal,
        run_server(command, behind, {}),
        limit_bandwidth(behind, width) as link,
    ):
        bucket = S3Config(link.url, "bench", "bench", "bench")
        asyncio.run(make_film(bucket))
        settings = {
            "MODAL_ENABLED": "true",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "R2_ENDPOINT_URL": bucket.endpoint_url,
            "R2_ACCESS_KEY_ID": bucket.access_key_id,
            "R2_SECRET_ACCESS_KEY": bucket.secret_access_key,
            "R2_BUCKET_NAME": bucket.bucket,
        }
        environment, url = modal.environment | settings, settings["PUBLIC_URL"]
        with serve_framehook(folder / "var", environment, port=port) as server, User(url) as user:
            yield Site(user, server, link, lambda key: asyncio.run(presign(bucket, key)))


PLACES = {"folder": open_with_folder, "s3": open_with_bucket}


async def make_film(site: S3Config) -> None:
    bucket = Bucket(site)
    await bucket.create()
    await bucket.close()


async def presign(site: S3Config, key: str) -> str:
    storage = S3Storage(Bucket(site))
    signed = await storage.sign_read_url("local", key, expires_seconds=URL_SECONDS)
    await storage.close()
    return signed.url


def measure(site: Site, recorder: Recorder, short: Path, film: Path, seconds: int, times: int) -> None:
    """Measure each way that a large file may take, and the moments of an export of a few seconds of it."""
    user, length = site.user, min(5, seconds // 2)
    # What the service loads at its first export counts as idle memory.
    require_complete(user.export("framing", crop(user.upload(short), 0, length)))
    site.idle = read_memory(site.server.process.pid).own
    key, _ = recorder.run("upload in one piece", lambda: user.upload(film))
    recorder.run("upload in parts, four at a time", lambda: user.upload_parts(film))
    recorder.run("download of the source", lambda: user.drain(site.readable(key)))
    config = crop(key, seconds * times // 2, length)
    states, _ = recorder.run(
        "export of a few seconds", lambda: require_complete(user.export("framing", config))
    )
    for moment, after in find_moments(states).items():
        recorder.add(f"of which until {moment}", after)
    states, _ = recorder.run(
        "export of all of it, as large again",
        lambda: require_complete(user.export("overlay", {"input_key": key})),
    )
    recorder.run("download of that", lambda: user.download(states[-1].job))


def require_complete(states: list[TimedState]) -> list[TimedState]:
    """Return the states of an export that succeeded; a failed one would measure nothing."""
    assert states[-1].job["status"] == "complete", states[-1].job
    return states


def find_moments(states: list[TimedState]) -> dict[str, float]:
    """Return when a run began to read its source, and when its first frames were written."""
    reading = next(state for state in states if state.job["phase"] == "downloading")
    encoding = [state for state in states if state.job["phase"] == "processing"]
    later = (state for state in encoding if state.job["progress"] > encoding[0].job["progress"])
    return {"reading begins": reading.seconds, "first frames": next(later, states[-1]).seconds}


def crop(key: str, start: int, length: int) -> dict[str, Any]:
    """Return the configuration of a crop of so many seconds."""
    trim = {"start": start, "end": start + length}
    keyframes = [CROP | {"time": start}, CROP | {"time": start + length, "x": 1_200}]
    return {"input_key": key, "quality": "draft", "trim": trim, "keyframes": keyframes, "output_height": 720}


BENCHMARK = Benchmark(
    description="Memory of the service and times of a source of 2.4 GB over a link of a gigabit, in a folder and in a "
    "bucket (moto's server), with functions behind a local Modal control plane.",
    run=run,
    rounds=1,
    sizes={"seconds": Size(10, smoke=2), "repetitions": Size(10, smoke=1)},
)
