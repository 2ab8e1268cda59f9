"""What a million pixels take to read, to draw and to encode: the rates that a new service forecasts with.

Exports that differ in one thing are measured in turn. The time of an export of a tenth of a second is what every export
takes; one of a tiny picture adds the reading of its source, one of a large picture its encoding, and those of other
types what they draw. CPU time is measured, which other load changes little. `service/forecast/defaults.py` has the
medians.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import export_config, spec

SOURCES: Mapping[str, tuple[str, ...]] = {
    "h264": (),
    "hevc": ("-c:v", "libx265", "-preset", "fast", "-x265-params", "log-level=error", "-tag:v", "hvc1"),
    "av1": ("-c:v", "libsvtav1", "-preset", "10"),
    "vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "8M"),
    "mpeg4": ("-c:v", "mpeg4", "-q:v", "3"),
}
CODECS, QUALITIES = ("h264", "hevc", "av1"), ("draft", "standard", "high")
FILM, TINY, LARGE, FPS = (1920, 1080), (64, 36), (1280, 720), 30
_START = "every export"


def run(options: Options) -> list[Figure]:
    """Measure each rate in each round."""
    seconds, samples = options.sizes["seconds"], Samples()
    films = {codec: film for codec in SOURCES if (film := _film_of(codec, seconds)) is not None}
    exports = _list_exports(films, seconds)
    if options.is_smoke:
        exports = {name: exports[name] for name in (_START, "read h264", "encode h264, draft")}
    times = dict[str, float]()
    for name in alternate(list(exports), options.rounds):
        kind, config, film = exports[name]
        arguments = spec(kind, {"input_key": "film"} | config, film, film.with_name("rates.mp4"))
        times[name] = measure_process((sys.executable, "-m", "gpu", "-"), arguments).cpu_seconds
        if len(times) == len(exports):
            _add_rates(samples, times, seconds * FPS)
            times = {}
    return samples.to_figures()


def _film_of(codec: str, seconds: int) -> Path | None:
    """Return the film in another codec; None where there is no ffmpeg that encodes it."""
    film, ffmpeg = prepare_film(seconds), shutil.which("ffmpeg")
    other = film.with_name(f"rates-{seconds}-{codec}.mp4")
    if codec == "h264" or other.exists():
        return film if codec == "h264" else other
    if ffmpeg is None:
        return None
    command = (
        ffmpeg,
        "-y",
        "-loglevel",
        "error",
        "-i",
        str(film),
        *SOURCES[codec],
        "-c:a",
        "copy",
        str(other),
    )
    if subprocess.run(command, check=False).returncode != 0:
        other.unlink(missing_ok=True)
        return None
    return other


def _list_exports(films: Mapping[str, Path], seconds: int) -> dict[str, tuple[str, dict[str, Any], Path]]:
    """Return type, config and film of each export, by what it measures."""
    film, fastest = films["h264"], {"codec": "h264", "quality": "draft"}
    exports = {_START: ("framing", _framing(TINY, fastest) | {"trim": {"start": 0, "end": 0.1}}, film)}
    for codec, other in films.items():
        exports[f"read {codec}"] = ("framing", _framing(TINY, fastest), other)
    for codec, quality in product(CODECS, QUALITIES):
        options = {"codec": codec, "quality": quality}
        exports[f"encode {codec}, {quality}"] = ("framing", _framing(LARGE, options), film)
    for kind in ("overlay", "annotate"):
        exports[f"draw {kind}"] = (kind, export_config(kind, seconds) | fastest, film)
    return exports


def _framing(size: tuple[int, int], options: Mapping[str, Any]) -> dict[str, Any]:
    whole = {"time": 0, "x": 0, "y": 0, "width": FILM[0], "height": FILM[1]}
    return {"keyframes": [whole], "output_width": size[0], "output_height": size[1], **options}


def _add_rates(samples: Samples, times: Mapping[str, float], frames: int) -> None:
    """Subtract from each time what the other exports say of it, and divide by the pixels."""
    start = times[_START]
    samples.add(_START, "seconds", start, "s")
    film, large = (frames * width * height / 1e6 for width, height in (FILM, LARGE))
    reading = times["read h264"] - start
    encoding = (times["encode h264, draft"] - start - reading) / large
    for name, seconds in times.items():
        if name.startswith("read"):
            samples.add(name, "a megapixel", 1_000 * (seconds - start) / film, "ms")
        elif name.startswith("encode"):
            samples.add(name, "a megapixel", 1_000 * (seconds - start - reading) / large, "ms")
        elif name.startswith("draw"):
            samples.add(name, "a megapixel", 1_000 * ((seconds - start - reading) / film - encoding), "ms")


BENCHMARK = Benchmark(
    description="CPU time of a million pixels, to read, to encode and to draw: the rates of a new service.",
    run=run,
    rounds=2,
    sizes={"seconds": Size(4, smoke=1)},
)
