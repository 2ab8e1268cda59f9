"""`make bench-large`: what a source of more than 2 GB costs in memory, and when its reading starts.

Functions run as processes behind a local Modal control plane and see no files: sources and outputs travel by
signed URLs over a link of a network's bandwidth, from the service's folder or a bucket. The film is like a
camera's: every frame a keyframe, repeated by stream copy, its index at the end.
"""

import argparse
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
from tests.bench.large_files.large_client import TimedState, User
from tests.bench.measure.bandwidth_limit import Link, limit_bandwidth
from tests.bench.measure.peak_memory import read_memory, watch_peak
from tests.bench.measure.servers import Server, run_server, serve_framehook
from tests.bench.modal.in_flight import start_control_plane
from tests.bench.video import footage
from tests.bench.video.memory import repeat_film
from tests.support.live_server import free_port

ROOT = Path("var") / "bench"
SECRET = "a secret that is long enough for a benchmark"
INTRA = {"preset": "ultrafast", "qp": "18", "g": "1"}
SECONDS, TIMES = 10.0, 10
CROP = {"x": 656, "y": 0, "width": 607, "height": 1080}
URL_SECONDS = 3_600
MEGABYTE, MEBIBYTE = 1e6, 2**20

Done = TypeVar("Done")


@dataclass
class Site:
    """A running service, the link that all large files use, and how a source is read over it."""

    user: User
    server: Server
    link: Link
    readable: Callable[[str], str]
    idle: int = 0

    def step(self, name: str, work: Callable[[], Done]) -> tuple[Done, float]:
        """Run an action; print its time and the peak of the service's memory."""
        begun = time.monotonic()
        with watch_peak(self.server.process.pid) as peak:
            done = work()
        took = time.monotonic() - begun
        over, resident = (peak.own - self.idle) / MEBIBYTE, peak.resident / MEBIBYTE
        print(f"  {name:38} {took:8.1f} s {over:8.1f} MiB {resident:8.1f} MiB", flush=True)
        return done, took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.large_files.large_sources", description="Measure a large source."
    )
    parser.add_argument("--storage", choices=["folder", "s3"], nargs="+", default=["folder", "s3"])
    parser.add_argument("--times", type=int, default=TIMES, help="how often the film repeats its 10 seconds")
    parser.add_argument("--megabytes-per-second", type=float, default=125.0, help="of the link: a gigabit's")
    arguments = parser.parse_args()
    short = ROOT.absolute() / f"intra-{SECONDS:g}.mp4"
    if not short.exists():
        footage.make_film(short, SECONDS, options=INTRA)
    film = repeat_film(short, arguments.times)
    for kind in arguments.storage:
        with tempfile.TemporaryDirectory(prefix="large-", dir=ROOT.absolute()) as folder:
            width = arguments.megabytes_per_second * MEGABYTE
            with PLACES[kind](Path(folder), width) as site:
                measure(site, kind, short, film, SECONDS * arguments.times / 2)
    film.unlink()


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
        with serve_framehook(
            folder / "var", modal.environment | settings, secret=SECRET, port=port
        ) as server:
            yield Site(
                User(here), server, link, lambda key: urls.sign(Grant("read", "local", key), URL_SECONDS).url
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
        with serve_framehook(
            folder / "var", modal.environment | settings, secret=SECRET, port=port
        ) as server:
            user = User(settings["PUBLIC_URL"])
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


def measure(site: Site, kind: str, short: Path, film: Path, middle: float) -> None:
    """Measure each way that a large file may take, then the timeline of an export of five seconds."""
    user, size = site.user, film.stat().st_size
    # What the service loads at its first export counts as idle memory.
    require_complete(user.export("framing", crop_five_seconds(user.upload(short), 1.0)))
    site.idle = read_memory(site.server.process.pid).own
    print(f"\n{kind}: a source of {size / 1e9:.2f} GB; the service idle holds {site.idle / MEBIBYTE:.1f} MiB")
    print(f"  {'':38} {'took':>10} {'over idle':>12} {'resident':>12}")
    key, _ = site.step("upload in one piece", lambda: user.upload(film))
    site.step("upload in parts, four at a time", lambda: user.upload_parts(film))
    _, whole = site.step("download of the source", lambda: user.drain(site.readable(key)))
    before = site.link.down_bytes
    states, _ = site.step(
        "export of 5 s of it",
        lambda: require_complete(user.export("framing", crop_five_seconds(key, middle))),
    )
    print_timeline(states, whole, site.link.down_bytes - before, size)
    states, _ = site.step(
        "export of all of it, as large again",
        lambda: require_complete(user.export("overlay", {"input_key": key})),
    )
    site.step("download of that", lambda: user.download(states[-1].job))


def require_complete(states: list[TimedState]) -> list[TimedState]:
    """Return the states of an export that succeeded; a failed one would measure nothing."""
    assert states[-1].job["status"] == "complete", states[-1].job
    return states


def print_timeline(states: list[TimedState], whole: float, read: int, size: int) -> None:
    """Print when each step happened, beside the time of a whole download."""
    reading = next(state for state in states if state.job["phase"] == "downloading")
    encoding = [state for state in states if state.job["phase"] == "processing"]
    first = next(state for state in encoding if state.job["progress"] > encoding[0].job["progress"])
    moments = [
        ("the run begins to read its source", reading.seconds),
        ("the first frames are written", first.seconds),
        ("complete, in its place", states[-1].seconds),
        ("a download of the source would have ended", reading.seconds + whole),
    ]
    for name, seconds in sorted(moments, key=lambda moment: moment[1]):
        print(f"    {seconds:6.2f} s  {name}")
    print(f"    read for it: {read / 1e6:.0f} of {size / 1e6:.0f} MB")


def crop_five_seconds(key: str, start: float) -> dict[str, Any]:
    """Return the configuration of a crop of five seconds."""
    trim = {"start": start, "end": start + 5}
    keyframes = [CROP | {"time": start}, CROP | {"time": start + 5, "x": 1_200}]
    return {"input_key": key, "quality": "draft", "trim": trim, "keyframes": keyframes, "output_height": 720}


if __name__ == "__main__":
    main()
