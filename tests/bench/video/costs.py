"""Seconds that a minute of 1080p takes, by type, codec and quality.

A short film is exported in every combination. The time to start Python is subtracted, and what is left is scaled to a
minute of output, so that figures do not depend on the length of the film.
"""

import sys
from itertools import product
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import Cost, measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import export_config, spec

KINDS, CODECS = ("framing", "overlay", "annotate"), ("h264", "hevc", "av1")
QUALITIES = ("draft", "standard", "high")
_MINUTE_SECONDS = 60


def run(options: Options) -> list[Figure]:
    """Export with each type, codec and quality."""
    seconds, samples = options.sizes["seconds"], Samples()
    film = prepare_film(seconds)
    combinations = list(product(KINDS, CODECS[:1] if options.is_smoke else CODECS, QUALITIES))
    for kind, codec, quality in alternate(
        combinations[::3] if options.is_smoke else combinations, options.rounds
    ):
        start = measure_process((sys.executable, "-c", "import gpu.__main__"))
        cost = _measure_export(kind, codec, quality, film, seconds)
        variant, scale = f"{kind}, {codec}, {quality}", _MINUTE_SECONDS / seconds
        samples.add(variant, "wall", (cost.wall_seconds - start.wall_seconds) * scale, "s")
        samples.add(variant, "CPU", (cost.cpu_seconds - start.cpu_seconds) * scale, "s")
        samples.add(variant, "peak memory", cost.peak_megabytes, "MB")
    return samples.to_figures()


def _measure_export(kind: str, codec: str, quality: str, film: Path, seconds: float) -> Cost:
    config = export_config(kind, seconds) | {"codec": codec, "quality": quality}
    arguments = spec(kind, config, film, film.with_name("cost.mp4"))
    return measure_process((sys.executable, "-m", "gpu", "-"), arguments)


BENCHMARK = Benchmark(
    description="What a minute of 1920 x 1080 at 30/s takes on this machine, by type, codec and quality.",
    run=run,
    rounds=1,
    sizes={"seconds": Size(4, smoke=1)},
)
