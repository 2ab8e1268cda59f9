"""`make bench-large`: what a source of more than 2 GB costs the service in memory, and when its reading begins.

Functions run as processes behind a local Modal control plane and see no files: sources come to them, and outputs go, by
signed URLs over a link as wide as a network's, from the service's folder or from a bucket. The film is a camera's:
every frame a key frame, repeated by stream copy, its index at its end.
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
from tests.bench.large_files.large_client import Told, User
from tests.bench.measure.bandwidth_limit import Link, narrow
from tests.bench.measure.peak_memory import held, watched
from tests.bench.measure.servers import Server, framehook, free_port, running
from tests.bench.modal.in_flight import plane
from tests.bench.video import footage
from tests.bench.video.memory import repeated

ROOT = Path("var") / "bench"
SECRET = "a secret that is long enough for a benchmark"
INTRA = {"preset": "ultrafast", "qp": "18", "g": "1"}
SECONDS, TIMES = 10.0, 10
CROP = {"x": 656, "y": 0, "width": 607, "height": 1080}
URL_SECONDS = 3_600
MEGABYTE, MEBIBYTE = 1e6, 2**20

Done = TypeVar("Done")


@dataclass
class Place:
    """A running service, the link that all large bytes go over, and how a source may be read over it."""

    user: User
    server: Server
    link: Link
    readable: Callable[[str], str]
    idle: int = 0

    def step(self, name: str, work: Callable[[], Done]) -> tuple[Done, float]:
        """Do it, and tell how long it took and what it took of the service's memory at most."""
        begun = time.monotonic()
        with watched(self.server.process.pid) as peak:
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
    asked = parser.parse_args()
    short = ROOT.absolute() / f"intra-{SECONDS:g}.mp4"
    if not short.exists():
        footage.make(short, SECONDS, options=INTRA)
    film = repeated(short, asked.times)
    for kind in asked.storage:
        with tempfile.TemporaryDirectory(prefix="large-", dir=ROOT.absolute()) as folder:
            width = asked.megabytes_per_second * MEGABYTE
            with PLACES[kind](Path(folder), width) as place:
                measure(place, kind, short, film, SECONDS * asked.times / 2)
    film.unlink()


@contextmanager
def in_a_folder(folder: Path, width: float) -> Iterator[Place]:
    """The service, and its files, at the far end of the link."""
    port = free_port()
    with plane(folder / "plane", hold_calls=False) as modal, narrow(port, width) as link:
        here = f"http://127.0.0.1:{port}"
        settings = {"MODAL_ENABLED": "true", "PUBLIC_URL": link.url, "CALLBACK_URL": here}
        urls = UrlSigner(link.url, hmac.digest(SECRET.encode(), b"files", "sha256"))
        with framehook(folder / "var", modal.environment | settings, secret=SECRET, port=port) as server:
            yield Place(
                User(here), server, link, lambda key: urls.sign(Grant("read", "local", key), URL_SECONDS).url
            )


@contextmanager
def in_a_bucket(folder: Path, width: float) -> Iterator[Place]:
    """The service here, its bucket at the far end of the link."""
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
        plane(folder / "plane", hold_calls=False) as modal,
        running(command, behind, {}),
        narrow(behind, width) as link,
    ):
        bucket = S3Config(link.url, "bench", "bench", "bench")
        asyncio.run(made(bucket))
        settings = {
            "MODAL_ENABLED": "true",
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "R2_ENDPOINT_URL": bucket.endpoint_url,
            "R2_ACCESS_KEY_ID": bucket.access_key_id,
            "R2_SECRET_ACCESS_KEY": bucket.secret_access_key,
            "R2_BUCKET_NAME": bucket.bucket,
        }
        with framehook(folder / "var", modal.environment | settings, secret=SECRET, port=port) as server:
            user = User(settings["PUBLIC_URL"])
            yield Place(user, server, link, lambda key: asyncio.run(presigned(bucket, key)))


PLACES = {"folder": in_a_folder, "s3": in_a_bucket}


async def made(place: S3Config) -> None:
    bucket = Bucket(place)
    await bucket.create()
    await bucket.close()


async def presigned(place: S3Config, key: str) -> str:
    storage = S3Storage(Bucket(place))
    signed = await storage.sign_read_url("local", key, expires_seconds=URL_SECONDS)
    await storage.close()
    return signed.url


def measure(place: Place, kind: str, short: Path, film: Path, middle: float) -> None:
    """Each way that a large file may take; then what an export of a stretch of it does when."""
    user, size = place.user, film.stat().st_size
    # Whatever the service loads at its first export is there when it counts as idle.
    complete(user.exported("framing", stretch(user.sent(short), 1.0)))
    place.idle = held(place.server.process.pid).own
    print(
        f"\n{kind}: a source of {size / 1e9:.2f} GB; the service idle holds {place.idle / MEBIBYTE:.1f} MiB"
    )
    print(f"  {'':38} {'took':>10} {'over idle':>12} {'resident':>12}")
    key, _ = place.step("upload in one piece", lambda: user.sent(film))
    place.step("upload in parts, four at a time", lambda: user.sent_in_parts(film))
    _, whole = place.step("download of the source", lambda: user.drained(place.readable(key)))
    before = place.link.down_bytes
    told, _ = place.step(
        "export of 5 s of it", lambda: complete(user.exported("framing", stretch(key, middle)))
    )
    timeline(told, whole, place.link.down_bytes - before, size)
    told, _ = place.step(
        "export of all of it, as large again", lambda: complete(user.exported("overlay", {"input_key": key}))
    )
    place.step("download of that", lambda: user.downloaded(told[-1].job))


def complete(told: list[Told]) -> list[Told]:
    """An export that failed would say nothing."""
    assert told[-1].job["status"] == "complete", told[-1].job
    return told


def timeline(told: list[Told], whole: float, read: int, size: int) -> None:
    """What happened when, in seconds from the request, beside the end that a download would have had."""
    reading = next(state for state in told if state.job["phase"] == "downloading")
    encoding = [state for state in told if state.job["phase"] == "processing"]
    first = next(state for state in encoding if state.job["progress"] > encoding[0].job["progress"])
    moments = [
        ("the run begins to read its source", reading.seconds),
        ("the first frames are written", first.seconds),
        ("complete, in its place", told[-1].seconds),
        ("a download of the source would have ended", reading.seconds + whole),
    ]
    for name, seconds in sorted(moments, key=lambda moment: moment[1]):
        print(f"    {seconds:6.2f} s  {name}")
    print(f"    read for it: {read / 1e6:.0f} of {size / 1e6:.0f} MB")


def stretch(key: str, start: float) -> dict[str, Any]:
    """Five seconds, cropped."""
    trim = {"start": start, "end": start + 5}
    keyframes = [CROP | {"time": start}, CROP | {"time": start + 5, "x": 1_200}]
    return {"input_key": key, "quality": "draft", "trim": trim, "keyframes": keyframes, "output_height": 720}


if __name__ == "__main__":
    main()
