"""Metrics that belong to an object instead of the process: each application has its own.

What a process counts itself is named `framehook_…`, and `sum()` over the replicas is right. What the database counts is
named `framehook_database_…`: every replica reports the same, so that `max()` is right.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf, isinf
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

SECONDS_TO_HOURS: Final = (
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
    *(300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0),
)
"""Upper bounds in seconds, for what an export takes."""
REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds in seconds, for what a request takes."""
SHARED: Final = " (in the database: every replica reports the same, so use max, not sum)"
MAX_LABEL_VALUES: Final = 100
OTHER: Final = "other"


def create_counter(name: str, documentation: str, *labels: str) -> Counter:
    """Return a counter of this process; `_total` is added to its name."""
    return Counter(f"framehook_{name}", documentation, labels, registry=None)


def create_gauge(name: str, documentation: str, *labels: str) -> Gauge:
    """Return a gauge of this process."""
    return Gauge(f"framehook_{name}", documentation, labels, registry=None)


def create_histogram(name: str, documentation: str, *labels: str, bounds: Sequence[float]) -> Histogram:
    """Return a histogram of this process."""
    return Histogram(f"framehook_{name}", documentation, labels, buckets=bounds, registry=None)


class MetricGroup(Collector):
    """Metrics of one subject: its attributes."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the group, without the times at which they were created."""
        for member in vars(self).values():
            if isinstance(member, MetricWrapperBase | LightHistogram):
                for metric in member.collect():
                    metric.samples = [
                        sample for sample in metric.samples if not sample.name.endswith("_created")
                    ]
                    yield metric


class LightHistogram(Collector):
    """A histogram for what happens thousands of times a second: only the event loop may observe.

    The library's takes a lock for each bucket, and costs as much as a tenth of a callback.
    """

    def __init__(self, name: str, documentation: str, *, bounds: Sequence[float]) -> None:
        self._name, self._documentation = f"framehook_{name}", documentation
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """The sum of the values."""
        return self._sum

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram."""
        bounds = ["+Inf" if isinf(bound) else str(bound) for bound in self._bounds]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class LabelLimit:
    """Limits how many values a label gets: those beyond MAX_LABEL_VALUES are counted as `other`."""

    def __init__(self) -> None:
        self._values: set[str] = set()

    def limit(self, value: str) -> str:
        """Return the value, or `other` if there are too many."""
        if value in self._values:
            return value
        if len(self._values) >= MAX_LABEL_VALUES:
            return OTHER
        self._values.add(value)
        return value


def gauge_of(
    name: str, documentation: str, values: Sequence[tuple[Sequence[str], float]], *labels: str
) -> Metric:
    """Return a gauge whose values are known only at a scrape."""
    gauge = GaugeMetricFamily(f"framehook_{name}", documentation, labels=labels)
    for label_values, value in values:
        gauge.add_metric(label_values, value)
    return gauge
