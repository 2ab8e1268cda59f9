"""`make bench-video`: an export by Framehook beside ffmpeg, MoviePy scripts and OpenCV loops.

Whole processes are measured in turn, round after round, on the same film; the tables hold medians. ffmpeg,
MoviePy and OpenCV get Framehook's x264 settings. The rows called usual are what people write instead: MoviePy's
own settings (preset medium), and a loop that writes a file of OpenCV's own, which ffmpeg encodes again with the
sound. A second table splits CPU time into startup, reading, drawing and the rest, which is encoding, by runs
that stop after each step. The baselines live in an environment of their own, `var/bench/venv`, created at the
first run.
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

from tests.bench.measure.process_cost import Cost, measure_process
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
    arguments = parser.parse_args()
    stage = _stage(arguments.seconds)
    print(
        f"{arguments.seconds:g} s of 1920 x 1080 at 30/s with sound, "
        f"{arguments.rounds} rounds, medians; {_machine(stage)}"
    )
    for kind in arguments.kinds:
        contenders = {
            name: command
            for name, command in commands(kind, stage).items()
            if not arguments.only or name in arguments.only
        }
        sys.stdout.flush()
        costs = _measure_alternately(contenders, arguments.rounds)
        _print_table(kind, costs)
        _print_parts(kind, stage, costs, arguments.part_rounds)


def _stage(seconds: float) -> Stage:
    folder = ROOT.absolute()
    film = folder / f"film-{seconds:g}.mp4"
    if not film.exists():
        footage.make_film(film, seconds)
    python, ffmpeg = prepare_baselines(folder)
    return Stage(film, folder, python, ffmpeg, seconds)


def prepare_baselines(folder: Path) -> tuple[Path, str]:
    """Return the baselines' Python and their ffmpeg, installed at the first call."""
    python = folder / "venv" / "bin" / "python"
    if not (folder / "venv" / ".installed").exists():
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "venv" / ".installed").touch()
    return python, _run_output(python, "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())")


def _run_output(python: Path, script: str) -> str:
    return subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip()


def _measure_alternately(contenders: Mapping[str, Command], rounds: int) -> dict[str, list[Cost]]:
    """Measure A B C, A B C, …, so that other load on the machine falls on all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, command in contenders.items():
            costs[name].append(measure_process(command.arguments, command.stdin))
    return costs


def _print_table(kind: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    """Print a table; ratios are of the same round, relative to Framehook.

    Busy cores show how much of the machine a process had.
    """
    print(
        f"\n{kind:14} {'wall s':>8} {'cpu s':>8} {'cores busy':>11} {'wall ratio':>11} {'cpu ratio':>10} {'peak MB':>8}"
    )
    ours = costs.get("Framehook", ())
    for name, samples in costs.items():
        wall, cpu = (
            _median(cost.wall_seconds for cost in samples),
            _median(cost.cpu_seconds for cost in samples),
        )
        busy = _median(cost.cpu_seconds / cost.wall_seconds for cost in samples)
        peak = _median(cost.peak_megabytes for cost in samples)
        ratios = ""
        if pairs := list(zip(samples, ours, strict=True)) if ours else []:
            walls = _median(sample.wall_seconds / own.wall_seconds for sample, own in pairs)
            ratios = f"{walls:11.2f} {_median(sample.cpu_seconds / own.cpu_seconds for sample, own in pairs):10.2f}"
        print(f"{name:14} {wall:8.2f} {cpu:8.2f} {busy:11.2f} {ratios:22} {peak:8.0f}")


def _print_parts(kind: str, stage: Stage, costs: Mapping[str, Sequence[Cost]], rounds: int) -> None:
    """Print where CPU time goes; each part is the difference of two medians."""
    if not rounds:
        return
    print(f"\n{'cpu s of which':14} {'start':>8} {'read':>8} {'draw':>8} {'the rest':>9}")
    for name, parts in stages(kind, stage).items():
        if name not in costs:
            continue
        totals = [0.0]
        samples = _measure_alternately({part: parts[part] for part in PARTS}, rounds).values()
        totals += [_median(cost.cpu_seconds for cost in part) for part in samples]
        totals.append(_median(cost.cpu_seconds for cost in costs[name]))
        start, read, draw, rest = (after - before for before, after in pairwise(totals))
        print(f"{name:14} {start:8.2f} {read:8.2f} {draw:8.2f} {rest:9.2f}")


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _machine(stage: Stage) -> str:
    baselines = _run_output(
        stage.python,
        "from importlib.metadata import version as v; "
        f"print(', '.join(f'{{name}} {{v(name)}}' for name in {PACKAGES!r}))",
    )
    plain = subprocess.run(
        [stage.ffmpeg, "-version"], check=True, capture_output=True, text=True
    ).stdout.split()[2]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"PyAV {version('av')}, ffmpeg {plain}, {baselines}"
    )


if __name__ == "__main__":
    main()
