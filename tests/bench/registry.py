"""All benchmarks, by name."""

from importlib import import_module

from tests.bench.benchmark import Benchmark

MODULES = {
    "callbacks": "tests.bench.ingest.throughput",
    "stages": "tests.bench.ingest.stages",
    "metrics": "tests.bench.ingest.metrics_overhead",
    "mixed": "tests.bench.ingest.mixed_load",
    "replicas": "tests.bench.ingest.replica_latency",
    "growth": "tests.bench.growth.growth",
    "readers": "tests.bench.growth.readers",
    "webhooks": "tests.bench.webhooks.latency",
    "outbox": "tests.bench.webhooks.outbox",
    "backlog": "tests.bench.webhooks.backlog",
    "connections": "tests.bench.webhooks.connections",
    "first-webhook": "tests.bench.webhooks.first_webhook",
    "exports": "tests.bench.exports.latency",
    "acceptance": "tests.bench.exports.acceptance",
    "modal": "tests.bench.modal.in_flight",
    "video": "tests.bench.video.compare",
    "split": "tests.bench.video.split",
    "eta": "tests.bench.video.eta",
    "memory": "tests.bench.video.memory",
    "quality": "tests.bench.video.quality",
    "sizes": "tests.bench.video.sizes",
    "costs": "tests.bench.video.costs",
    "forecast": "tests.bench.forecast.replay",
    "rates": "tests.bench.forecast.rates",
    "large": "tests.bench.large_files.large_sources",
    "console": "tests.bench.console.responsiveness",
    "fanout": "tests.bench.fanout.throughput",
    "lateness": "tests.bench.fanout.scale",
}
"""Each module has a `BENCHMARK`."""


def load_benchmark(name: str) -> Benchmark:
    """Import the module of a benchmark."""
    benchmark: Benchmark = import_module(MODULES[name]).BENCHMARK
    return benchmark
