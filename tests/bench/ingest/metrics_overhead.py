"""What metrics and logs add to a callback: one server that switches them off and on between rounds.

Two processes of the same code differ by more than what is measured here.
"""

import signal
import statistics
import tempfile
from pathlib import Path

from tests.bench.benchmark import RATIO, Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import sqlite_rows
from tests.bench.ingest.throughput import Variant, attempt_key, measure
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import serve_framehook

WITH = "with metrics and logs"
WITHOUT = "without"
_SWITCHABLE = """
import signal
from service.ingest.batch_writer import BatchWriter
from service.metrics.callbacks import CallbackMetrics
from service.metrics.groups import LightHistogram

places = [(CallbackMetrics, "count"), (LightHistogram, "observe"), (BatchWriter, "_record")]
others = [lambda *_arguments: None for _ in places]

def switch(*_signal):
    for index, (owner, name) in enumerate(places):
        others[index], method = getattr(owner, name), others[index]
        setattr(owner, name, method)

signal.signal(signal.SIGUSR1, switch)
from service.cli.main import app; app()
"""


def run(options: Options) -> list[Figure]:
    """Measure both in many short turns of each round, and compare neighbors: other load changes within seconds."""
    samples, current = Samples(), WITH
    with tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
        data_dir = Path(folder) / "data"
        with serve_framehook(data_dir, {}, code=_SWITCHABLE) as server:
            served = Variant("the server", server, sqlite_rows(data_dir / "framehook.db"), attempt_key)
            for _ in range(options.rounds):
                spent: dict[str, list[float]] = {WITH: [], WITHOUT: []}
                for variant in alternate([WITH, WITHOUT], options.sizes["turns"]):
                    if variant != current:
                        server.process.send_signal(signal.SIGUSR1)
                        current = variant
                    spent[variant].append(measure(served, options.sizes["requests"]).cpu_microseconds)
                for variant, microseconds in spent.items():
                    samples.add(variant, "server CPU each", statistics.median(microseconds), "µs")
                ratios = [cost / bare for cost, bare in zip(spent[WITH], spent[WITHOUT], strict=True)]
                samples.add(WITH, "CPU, ratio", statistics.median(ratios), RATIO)
                samples.add(WITHOUT, "CPU, ratio", 1.0, RATIO)
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="CPU time of a signed callback with the metrics and the log of the service, beside the same server "
    "with both switched off.",
    run=run,
    rounds=5,
    sizes={"requests": Size(1_280, smoke=128), "turns": Size(24, smoke=2)},
)
