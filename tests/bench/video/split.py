"""`python -m tests.bench.video.split`: exports in chunks beside the same in one pass.

A draft's encoder waits for decoding and drawing, which one core does: there chunks can win. The best quality
fills the cores by itself: there they cannot. Whole processes are measured in turn, round after round; the table
holds medians, and ratios of the same round. Busy cores show whether anything could be won. Then, for each, the
error of the estimate after a third of the run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.measure.process_cost import Cost, measure_process
from tests.bench.video import footage

ROOT = Path("var") / "bench"
WIDTH, HEIGHT = 640, 360
CASES = (("framing", "draft"), ("overlay", "draft"), ("annotate", "draft"), ("framing", "high"))
_REGION = {
    "start_time": 0.5,
    "keyframes": [
        {"time": 0, "x": 200, "y": 200, "radiusX": 40, "radiusY": 60},
        {"time": 30, "x": 420, "y": 240, "radiusX": 50, "radiusY": 70},
    ],
}
_PAN = [
    {"time": 0, "x": 0, "y": 20, "width": 480, "height": 270},
    {"time": 30, "x": 150, "y": 80, "width": 480, "height": 270},
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.split", description="Measure split exports."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=100.0, help="of film")
    parser.add_argument("--chunks", type=int, default=2)
    arguments = parser.parse_args()
    folder = ROOT.absolute()
    film = folder / f"film-{arguments.seconds:g}-{HEIGHT}.mp4"
    if not film.exists():
        footage.make_film(film, arguments.seconds, HEIGHT / footage.HEIGHT)
    print(f"{arguments.seconds:g} s of {WIDTH} x {HEIGHT}, {arguments.rounds} rounds, medians")
    for kind, quality in CASES:
        config = _configs(arguments.seconds)[kind] | {"quality": quality}
        specs = {
            chunks: _write_spec(folder, film, kind, config | {"parallelism": chunks})
            for chunks in (1, arguments.chunks)
        }
        _print_table(f"{kind}, {quality},", _measure_alternately(specs, arguments.rounds))
        for chunks, spec in specs.items():
            estimate, took = _measure_eta(spec)
            print(f"  after a third in {chunks}: {estimate:.2f} s left, it said; {took:.2f} s it was")


def _configs(seconds: float) -> dict[str, dict[str, Any]]:
    clips = [{"start_time": at, "end_time": at + seconds / 4, "name": "A clip"} for at in (0, seconds / 2)]
    return {
        "framing": {"keyframes": _PAN, "output_width": WIDTH, "output_height": HEIGHT},
        "overlay": {"highlight_regions": [_REGION | {"end_time": seconds - 0.5}]},
        "annotate": {"clips": clips, "transition": {"type": "dissolve", "duration": 1}},
    }


def _write_spec(folder: Path, film: Path, kind: str, config: Mapping[str, Any]) -> Path:
    """Write the attempt as a file that `python -m gpu` reads."""
    place = folder / f"split-{kind}-{config['quality']}-{config['parallelism']}"
    spec = {
        "job_id": "bench",
        "attempt": 1,
        "call_id": "bench",
        "type": kind,
        "config": {"input_key": "film", **config},
        "transfer": {
            "sources": {"film": {"path": str(film)}},
            "output": {"path": str(place.with_suffix(".mp4"))},
        },
    }
    path = place.with_suffix(".json")
    path.write_text(json.dumps(spec))
    return path


def _command(spec: Path) -> list[str]:
    return [sys.executable, "-m", "gpu", str(spec)]


def _measure_alternately(specs: Mapping[int, Path], rounds: int) -> dict[int, list[Cost]]:
    """Measure both in turn, so that other load on the machine falls on both."""
    costs: dict[int, list[Cost]] = {chunks: [] for chunks in specs}
    for _ in range(rounds):
        for chunks, spec in specs.items():
            costs[chunks].append(measure_process(_command(spec)))
    return costs


def _print_table(kind: str, costs: Mapping[int, Sequence[Cost]]) -> None:
    whole, split = costs.values()
    for chunks, samples in costs.items():
        wall = statistics.median(cost.wall_seconds for cost in samples)
        cpu = statistics.median(cost.cpu_seconds for cost in samples)
        busy = statistics.median(cost.cpu_seconds / cost.wall_seconds for cost in samples)
        print(f"{kind} in {chunks}: {wall:.2f} s wall, {cpu:.2f} s cpu, {busy:.2f} cores busy")
    pairs = list(zip(whole, split, strict=True))
    faster = statistics.median(single.wall_seconds / chunked.wall_seconds for single, chunked in pairs)
    dearer = statistics.median(chunked.cpu_seconds / single.cpu_seconds for single, chunked in pairs)
    print(f"  {faster:.2f} times as fast, for {dearer:.2f} times the processor time")


def _measure_eta(spec: Path) -> tuple[float, float]:
    """Return the estimate a third through the encoding, and the seconds that were left."""
    said: list[tuple[float, dict[str, Any]]] = []
    with subprocess.Popen(_command(spec), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said.extend((time.monotonic(), json.loads(line)) for line in process.stdout)
    encoding = [(at, tick) for at, tick in said if tick.get("phase") == "processing"]
    begun, ended = encoding[0][0], encoding[-1][0]
    late = (each for each in encoding if each[0] - begun >= (ended - begun) / 3)
    at, tick = next((at, tick) for at, tick in late if tick["eta_seconds"] is not None)
    return tick["eta_seconds"], ended - at


if __name__ == "__main__":
    main()
