"""Exports in chunks beside the same in one pass.

A draft's encoder waits for decoding and drawing, which one core does: there chunks can win. The best quality
fills the cores by itself: there they cannot.
"""

import sys
from typing import Any

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.process_cost import add_cost, measure_process
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import spec

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


def run(options: Options) -> list[Figure]:
    """Export in one pass and in chunks, in turn."""
    seconds, chunks, samples = options.sizes["seconds"], options.sizes["chunks"], Samples()
    film = prepare_film(seconds, height=HEIGHT)
    for kind, quality in CASES:
        variants = {f"{kind}, {quality}, in {count}": count for count in (1, chunks)}
        whole, *_ = variants
        for variant, count in alternate(list(variants.items()), options.rounds):
            config = _configs(seconds)[kind] | {"input_key": "film", "quality": quality, "parallelism": count}
            given = spec(kind, config, film, film.with_name("split.mp4"))
            add_cost(samples, variant, measure_process((sys.executable, "-m", "gpu", "-"), given))
        for measure in ("wall", "CPU"):
            samples.add_ratios(measure, base=whole, among=variants)
    return samples.to_figures()


def _configs(seconds: int) -> dict[str, dict[str, Any]]:
    clips = [{"start_time": at, "end_time": at + seconds / 4, "name": "A clip"} for at in (0, seconds / 2)]
    return {
        "framing": {"keyframes": _PAN, "output_width": WIDTH, "output_height": HEIGHT},
        "overlay": {"highlight_regions": [_REGION | {"end_time": seconds - 0.5}]},
        "annotate": {"clips": clips, "transition": {"type": "dissolve", "duration": 1}},
    }


BENCHMARK = Benchmark(
    description=f"Exports of {WIDTH} x {HEIGHT} in chunks on one machine, beside the same in one pass.",
    run=run,
    rounds=3,
    sizes={"seconds": Size(60, smoke=2), "chunks": Size(2, smoke=2)},
)
