"""`python -m tests.bench.video.eta`: error of `eta_seconds` at 1/3, 1/2 and 2/3 of an export.

Each kind is exported in rounds, by turns; a run begins when its process does, and ends when the output lies there.
What was told is the last `eta_seconds` before that part of the run; its error is the share by which it missed what was
still to come. On a machine that others use, an export does not run steadily: so the errors hold those of the machine.
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

from tests.bench.measure.process_cost import Broken
from tests.bench.video import footage
from tests.bench.video.workloads import spec

ROOT = Path("var") / "bench"
KINDS = ("framing", "overlay", "annotate")
PARTS = {"a third": 1 / 3, "a half": 1 / 2, "two thirds": 2 / 3}
_CROP = {"x": 100, "y": 0, "width": 405, "height": 720}
_ELLIPSE = {"x": 640, "y": 360, "radiusX": 80, "radiusY": 130}

Told = Sequence[tuple[float, float]]
"""When something was told, and the seconds left that were."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.eta", description="Measure foretold times."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of film, 1280 x 720")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    asked = parser.parse_args()
    film = ROOT.absolute() / f"film-{asked.seconds:g}-720.mp4"
    if not film.exists():
        footage.make(film, asked.seconds, 2 / 3)
    configs = {kind: config for kind, config in _configs(asked.seconds).items() if kind in asked.kinds}
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in configs}
    took: dict[str, list[float]] = {kind: [] for kind in found}
    for _ in range(asked.rounds):
        for kind, config in configs.items():
            seconds, told = _run(spec(kind, {"input_key": "film"} | config, film, film.with_name("eta.mp4")))
            found[kind].append({part: _error(told, seconds, share) for part, share in PARTS.items()})
            took[kind].append(seconds)
    print(
        f"{asked.seconds:g} s of 1280 x 720, standard, {asked.rounds} rounds: error of the time left, median (worst)"
    )
    print(f"{'':10} {'run s':>7}" + "".join(f"{'after ' + part:>22}" for part in PARTS))
    for kind, errors in found.items():
        row = "".join(f"{_summed_up([each[part] for each in errors]):>22}" for part in PARTS)
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


def _run(asked: str) -> tuple[float, Told]:
    """How long an export took, and what it told when, counted from its start."""
    begun, told = time.monotonic(), []
    command = [sys.executable, "-m", "gpu", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(asked)
        process.stdin.close()
        for line in process.stdout:
            left = json.loads(line).get("eta_seconds")
            if left is not None:
                told.append((time.monotonic() - begun, left))
    if process.returncode != 0:
        raise Broken(f"an export ended with {process.returncode}")
    return time.monotonic() - begun, told


def _error(told: Told, seconds: float, share: float) -> float:
    """What was told by that part of the run, as a share too much or (below zero) too little."""
    at, left = next((at, left) for at, left in reversed(told) if at <= seconds * share)
    return left / (seconds - at) - 1


def _summed_up(errors: Sequence[float]) -> str:
    """The error in the middle, without its sign, and the worst, with it."""
    return f"{statistics.median(abs(error) for error in errors):.0%} ({max(errors, key=abs):+.0%})"


if __name__ == "__main__":
    main()
