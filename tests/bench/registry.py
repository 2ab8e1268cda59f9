"""All benchmarks, by name."""

from importlib import import_module

from tests.bench.benchmark import Benchmark

MODULES = {
    "callbacks": "tests.bench.ingest.throughput",
}
"""Each module has a `BENCHMARK`."""


def load_benchmark(name: str) -> Benchmark:
    """Import the module of a benchmark."""
    benchmark: Benchmark = import_module(MODULES[name]).BENCHMARK
    return benchmark
