"""`make bench-video`: an export by Framehook beside plain ffmpeg, MoviePy scripts and OpenCV loops.

Whole processes are measured in turn, round after round, on the same film; the tables hold medians. ffmpeg, MoviePy and
OpenCV are given Framehook's settings of x264. The rows called usual are what people write instead: MoviePy's own
settings (preset medium), and a loop that writes a film of OpenCV's own and has ffmpeg encode it anew with the sound.
A second table says where the processor's time goes: to start, to read the film, to draw, and the rest, which is
encoding; each by what a run takes that ends there. The rivals live in an environment of their own, `var/bench/venv`,
made at the first run.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

from tests.bench.measure.process_cost import Cost, measured
from tests.bench.video import footage
from tests.bench.video.workloads import Command, Stage, commands, stages

ROOT = Path("var") / "bench"
PACKAGES = ("moviepy", "imageio-ffmpeg", "opencv-python-headless")
KINDS = ("framing", "overlay")
PARTS = ("start", "read", "draw")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.compare", description="Measure exports."
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part-rounds", type=int, default=3, help="of the second table")
    parser.add_argument("--seconds", type=float, default=20.0, help="of film")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--only", nargs="+", help="contenders to measure, by name")
    asked = parser.parse_args()
    stage = _stage(asked.seconds)
    print(
        f"{asked.seconds:g} s of 1920 x 1080 at 30/s with sound, {asked.rounds} rounds, medians; {_machine(stage)}"
    )
    for kind in asked.kinds:
        contenders = {
            name: command
            for name, command in commands(kind, stage).items()
            if not asked.only or name in asked.only
        }
        sys.stdout.flush()
        costs = _measured(contenders, asked.rounds)
        _tell(kind, costs)
        _tell_parts(kind, stage, costs, asked.part_rounds)


def _stage(seconds: float) -> Stage:
    folder = ROOT.absolute()
    film = folder / f"film-{seconds:g}.mp4"
    if not film.exists():
        footage.make(film, seconds)
    python, ffmpeg = rivals(folder)
    return Stage(film, folder, python, ffmpeg, seconds)


def rivals(folder: Path) -> tuple[Path, str]:
    """The rivals' Python, and their ffmpeg; installed at the first call."""
    python = folder / "venv" / "bin" / "python"
    if not (folder / "venv" / ".installed").exists():
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "venv" / ".installed").touch()
    return python, _said(python, "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")


def _said(python: Path, script: str) -> str:
    return subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def _measured(contenders: Mapping[str, Command], rounds: int) -> dict[str, list[Cost]]:
    """A B C, A B C, …: whatever else the machine does falls on all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, command in contenders.items():
            costs[name].append(measured(command.arguments, command.stdin))
    return costs


def _tell(kind: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    """A table; its ratios say how many times as long as Framehook each took in the same round.

    Cores busy say how much of the machine it had: on one that others keep busy, wall time tells of them as well.
    """
    print(
        f"\n{kind:14} {'wall s':>8} {'cpu s':>8} {'cores busy':>11} {'wall ratio':>11} {'cpu ratio':>10} {'peak MB':>8}"
    )
    ours = costs.get("Framehook", ())
    for name, found in costs.items():
        wall, cpu = _median(cost.wall_seconds for cost in found), _median(cost.cpu_seconds for cost in found)
        busy = _median(cost.cpu_seconds / cost.wall_seconds for cost in found)
        peak = _median(cost.peak_megabytes for cost in found)
        ratios = ""
        if pairs := list(zip(found, ours, strict=True)) if ours else []:
            walls = _median(one.wall_seconds / own.wall_seconds for one, own in pairs)
            ratios = f"{walls:11.2f} {_median(a.cpu_seconds / b.cpu_seconds for a, b in pairs):10.2f}"
        print(f"{name:14} {wall:8.2f} {cpu:8.2f} {busy:11.2f} {ratios:22} {peak:8.0f}")


def _tell_parts(kind: str, stage: Stage, costs: Mapping[str, Sequence[Cost]], rounds: int) -> None:
    """Where the processor's seconds go, each part by the difference of two medians."""
    if not rounds:
        return
    print(f"\n{'cpu s of which':14} {'start':>8} {'read':>8} {'draw':>8} {'the rest':>9}")
    for name, parts in stages(kind, stage).items():
        if name not in costs:
            continue
        reached = [0.0]
        found_parts = _measured({part: parts[part] for part in PARTS}, rounds).values()
        reached += [_median(cost.cpu_seconds for cost in found) for found in found_parts]
        reached.append(_median(cost.cpu_seconds for cost in costs[name]))
        start, read, draw, rest = (after - before for before, after in pairwise(reached))
        print(f"{name:14} {start:8.2f} {read:8.2f} {draw:8.2f} {rest:9.2f}")


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _machine(stage: Stage) -> str:
    rivals = _said(
        stage.python,
        "from importlib.metadata import version as v; "
        f"print(', '.join(f'{{name}} {{v(name)}}' for name in {PACKAGES!r}))",
    )
    plain = subprocess.run(
        [stage.ffmpeg, "-version"], check=True, capture_output=True, text=True
    ).stdout.split()[2]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"PyAV {version('av')}, ffmpeg {plain}, {rivals}"
    )


if __name__ == "__main__":
    main()
