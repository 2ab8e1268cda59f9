"""`python -m tests.bench.video.eta`: error of `eta_seconds` at 1/3, 1/2 and 2/3 of an export.

Each type is exported in rounds, in turn; a run lasts from the start of its process until its output exists. The
estimate is the last `eta_seconds` before that share of the run; its error is the share by which it missed the
time that was left. On a shared machine an export does not run steadily, so errors include the machine's.
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

from tests.bench.measure.process_cost import ProcessFailed
from tests.bench.video import footage
from tests.bench.video.workloads import spec

ROOT = Path("var") / "bench"
KINDS = ("framing", "overlay", "annotate")
PARTS = {"a third": 1 / 3, "a half": 1 / 2, "two thirds": 2 / 3}
_CROP = {"x": 100, "y": 0, "width": 405, "height": 720}
_ELLIPSE = {"x": 640, "y": 360, "radiusX": 80, "radiusY": 130}

Estimates = Sequence[tuple[float, float]]
"""When something was estimates, and the seconds left that were."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.eta", description="Measure foretold times."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of film, 1280 x 720")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    film = ROOT.absolute() / f"film-{arguments.seconds:g}-720.mp4"
    if not film.exists():
        footage.make_film(film, arguments.seconds, 2 / 3)
    configs = {
        kind: config for kind, config in _configs(arguments.seconds).items() if kind in arguments.kinds
    }
    errors: dict[str, list[dict[str, float]]] = {kind: [] for kind in configs}
    took: dict[str, list[float]] = {kind: [] for kind in errors}
    for _ in range(arguments.rounds):
        for kind, config in configs.items():
            seconds, estimates = _run(
                spec(kind, {"input_key": "film"} | config, film, film.with_name("eta.mp4"))
            )
            errors[kind].append({part: _error(estimates, seconds, share) for part, share in PARTS.items()})
            took[kind].append(seconds)
    print(
        f"{arguments.seconds:g} s of 1280 x 720, standard, {arguments.rounds} rounds: "
        "error of the time left, median (worst)"
    )
    print(f"{'':10} {'run s':>7}" + "".join(f"{'after ' + part:>22}" for part in PARTS))
    for kind, rounds in errors.items():
        row = "".join(f"{_summarize([each[part] for each in rounds]):>22}" for part in PARTS)
        print(f"{kind:10} {statistics.median(took[kind]):7.1f}{row}")


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
    at, left = next((at, left) for at, left in reversed(estimates) if at <= seconds * share)
    return left / (seconds - at) - 1


def _summarize(errors: Sequence[float]) -> str:
    """Return the median absolute error and the worst error with its sign."""
    return f"{statistics.median(abs(error) for error in errors):.0%} ({max(errors, key=abs):+.0%})"


if __name__ == "__main__":
    main()
