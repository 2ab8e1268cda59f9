"""`python -m tests.bench.video.costs`: seconds that a minute of 1080p takes, by type, codec and quality.

A short film is exported in every combination, in turn, round after round. The time to start Python is subtracted,
and what is left is scaled to a minute, so the cells are comparable whatever the length of the film. Wall time says
how long the machine took beside its other load, CPU time what the export cost it.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from tests.bench.measure.process_cost import Cost, measure_process
from tests.bench.video import footage
from tests.bench.video.workloads import export_config, spec

ROOT = Path("var") / "bench"
KINDS, CODECS = ("framing", "overlay", "annotate"), ("h264", "hevc", "av1")
QUALITIES = ("draft", "standard", "high")
_MINUTE_SECONDS = 60.0

Combination = tuple[str, str, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.video.costs", description="Measure what a minute of 1080p costs."
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of film, 1920 x 1080 at 30/s")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS)
    parser.add_argument("--qualities", nargs="+", choices=QUALITIES, default=QUALITIES)
    arguments = parser.parse_args()
    film = ROOT.absolute() / f"film-{arguments.seconds:g}.mp4"
    if not film.exists():
        footage.make_film(film, arguments.seconds)
    combinations = list(product(arguments.kinds, arguments.codecs, arguments.qualities))
    costs = measure_combinations(combinations, film, arguments.seconds, arguments.rounds)
    print(
        f"wall / CPU seconds for a minute of 1920 x 1080 at 30/s, {arguments.seconds:g} s of film, "
        f"{arguments.rounds} rounds, medians; peak memory"
    )
    print(f"{'':9} {'codec':6}" + "".join(f"{quality:>24}" for quality in arguments.qualities))
    for kind, codec in product(arguments.kinds, arguments.codecs):
        row = (costs[kind, codec, quality] for quality in arguments.qualities)
        print(f"{kind:9} {codec:6}" + "".join(f"{_describe(cell):>24}" for cell in row))


def measure_combinations(
    combinations: list[Combination], film: Path, seconds: float, rounds: int
) -> Mapping[Combination, Cost]:
    """Return the median costs of each, for a minute of film."""
    samples: dict[Combination, list[Cost]] = {combination: [] for combination in combinations}
    for _ in range(rounds):
        start = measure_process((sys.executable, "-c", "import gpu.__main__"))
        for (kind, codec, quality), costs in samples.items():
            config = export_config(kind, seconds) | {"codec": codec, "quality": quality}
            cost = _measure_export(kind, config, film)
            costs.append(
                Cost(
                    (cost.wall_seconds - start.wall_seconds) * _MINUTE_SECONDS / seconds,
                    (cost.cpu_seconds - start.cpu_seconds) * _MINUTE_SECONDS / seconds,
                    cost.peak_megabytes,
                )
            )
    return {combination: _median(costs) for combination, costs in samples.items()}


def _measure_export(kind: str, config: Mapping[str, Any], film: Path) -> Cost:
    arguments = spec(kind, config, film, film.with_name("cost.mp4"))
    return measure_process((sys.executable, "-m", "gpu", "-"), arguments)


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall_seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        statistics.median(cost.peak_megabytes for cost in costs),
    )


def _describe(cost: Cost) -> str:
    return f"{cost.wall_seconds:.0f} / {cost.cpu_seconds:.0f} s, {cost.peak_megabytes:.0f} MB"


if __name__ == "__main__":
    main()
