"""Error of `eta_seconds` at 1/3, 1/2 and 2/3 of an export.

Each type is exported in rounds, in turn; a run lasts from the start of its process until its output exists. The
estimate is the last `eta_seconds` before that share of the run; its error is the share by which it missed the
time that was left. On a shared machine an export does not run steadily, so errors include the machine's.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import ProcessFailed
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import spec

PARTS = {"a third": 1 / 3, "a half": 1 / 2, "two thirds": 2 / 3}
_CROP = {"x": 100, "y": 0, "width": 405, "height": 720}
_ELLIPSE = {"x": 640, "y": 360, "radiusX": 80, "radiusY": 130}

Estimates = Sequence[tuple[float, float]]
"""When each estimate came, and the seconds that were left according to it."""


def run(options: Options) -> list[Figure]:
    """Export each type in turn."""
    seconds, samples = options.sizes["seconds"], Samples()
    film = prepare_film(seconds, height=720)
    for kind, config in alternate(list(_configs(seconds).items()), options.rounds):
        arguments = spec(kind, {"input_key": "film"} | config, film, film.with_name("eta.mp4"))
        took, estimates = _run(arguments)
        samples.add(kind, "run", took, "s")
        for part, share in PARTS.items():
            samples.add(kind, f"error after {part}", 100 * abs(_error(estimates, took, share)), "%")
    return samples.to_figures()


def _configs(seconds: float) -> Mapping[str, dict[str, Any]]:
    across = [_CROP | {"time": 0}, _CROP | {"time": seconds, "x": 700}]
    region = {"start_time": 0, "end_time": seconds, "keyframes": [_ELLIPSE | {"time": 0}]}
    clips = [{"start_time": at, "end_time": at + seconds / 2, "name": "A clip"} for at in (seconds / 2, 0)]
    return {
        "framing": {"keyframes": across, "output_width": 608, "output_height": 1080},
        "overlay": {"highlight_regions": [region]},
        "annotate": {"clips": clips},
    }


def _run(arguments: str) -> tuple[float, Estimates]:
    """Run an export; return its seconds and its estimates with their times."""
    begun, estimates = time.monotonic(), []
    command = [sys.executable, "-m", "gpu", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(arguments)
        process.stdin.close()
        for line in process.stdout:
            left = json.loads(line).get("eta_seconds")
            if left is not None:
                estimates.append((time.monotonic() - begun, left))
    if process.returncode != 0:
        raise ProcessFailed(f"an export ended with {process.returncode}")
    return time.monotonic() - begun, estimates


def _error(estimates: Estimates, seconds: float, share: float) -> float:
    """Return the error of the estimate at that share of the run; negative is too little."""
    at = seconds * share
    earlier = (estimate for estimate in reversed(estimates) if estimate[0] <= at)
    at, left = next(earlier, (at, 0.0))  # no estimate is as wrong as one of no time
    return left / (seconds - at) - 1


BENCHMARK = Benchmark(
    description="Error of `eta_seconds` after a part of an export of 720p, which begins with the start of its process.",
    run=run,
    rounds=3,
    sizes={"seconds": Size(20, smoke=1)},
)
