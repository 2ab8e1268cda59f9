"""Metrics of the process: its loops, its version, and what the operating system counts."""

import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from infra.supervise import Supervisor
from service.metrics.groups import gauge_of


class LoopCollector(Collector):
    """Which loops of the process run, and how often each was started again."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        down, restarts = self._supervisor.down, self._supervisor.restarts
        states = [((name,), float(name not in down)) for name in sorted(restarts)]
        yield gauge_of("loop_up", "Whether a loop of this process runs", states, "loop")
        restarted = CounterMetricFamily(
            "framehook_loop_restarts", "How often a loop of this process was started again", labels=["loop"]
        )
        for name, count in sorted(restarts.items()):
            restarted.add_metric([name], count)
        yield restarted


class BuildCollector(Collector):
    """The version of the service, and what it runs with."""

    def __init__(self, runner: str, database: str) -> None:
        self._labels = (version("framehook"), platform.python_version(), runner, database)

    def collect(self) -> Iterator[Metric]:
        """Yield the metric, which is always 1."""
        names = ("version", "python", "runner", "database")
        yield gauge_of(
            "build_info", "Version of the service, and what it runs with", [(self._labels, 1.0)], *names
        )


class ValueCollector(Collector):
    """Metrics whose values another object knows."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        yield from self._read()


def create_registry(collectors: Iterable[Collector]) -> CollectorRegistry:
    """Return a registry with these collectors, and what the operating system and the interpreter count."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return registry
