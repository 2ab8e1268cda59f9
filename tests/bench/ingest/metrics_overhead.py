"""What metrics and logs add to a callback: the same server with and without them, in turn."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.ingest.rows import sqlite_rows
from tests.bench.ingest.throughput import Variant, attempt_key, measure
from tests.bench.measure.samples import Samples, alternate
from tests.bench.measure.servers import serve_framehook

WITH = "with metrics and logs"
WITHOUT = "without"
_LEAVE_OUT = """
from service.ingest.batch_writer import BatchWriter
from service.metrics.callbacks import CallbackMetrics
from service.metrics.groups import LightHistogram

CallbackMetrics.count = LightHistogram.observe = BatchWriter._record = lambda *_arguments: None
from service.cli.main import app; app()
"""


def run(options: Options) -> list[Figure]:
    """Measure both in turn."""
    samples = Samples()
    with ExitStack() as stack:
        for variant in alternate(list(_variants(stack)), options.rounds):
            sample = measure(variant, options.sizes["requests"])
            samples.add(variant.name, "server CPU each", sample.cpu_microseconds, "µs")
    samples.add_ratios("server CPU each", base=WITHOUT, name="CPU, ratio")
    return samples.to_figures()


def _variants(stack: ExitStack) -> Iterator[Variant]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="framehook-bench-")))
    measured = stack.enter_context(serve_framehook(folder / "with", {}))
    yield Variant(WITH, measured, sqlite_rows(folder / "with" / "framehook.db"), attempt_key)
    bare = stack.enter_context(serve_framehook(folder / "without", {}, code=_LEAVE_OUT))
    yield Variant(WITHOUT, bare, sqlite_rows(folder / "without" / "framehook.db"), attempt_key)


BENCHMARK = Benchmark(
    description="CPU time of a signed callback with the metrics and the log of the service, beside the same server "
    "without them.",
    run=run,
    rounds=11,
    sizes={"requests": Size(6_000, smoke=128)},
)
