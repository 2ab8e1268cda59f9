"""Metrics of callbacks: light, since every progress report passes here."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from service.metrics.groups import REQUEST_SECONDS, LightHistogram, MetricGroup, create_counter

BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class CallbackMetrics(MetricGroup):
    """Callbacks of runs to this process, and the transactions that store them."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        """Callbacks answered, by the status of the answer."""
        self.seconds = LightHistogram(
            "callback_duration_seconds",
            "From the last byte of a callback to its answer; the ends of attempts include checking the output",
            bounds=REQUEST_SECONDS,
        )
        self.batch_size = LightHistogram(
            "callback_batch_size", "Callbacks committed together", bounds=BATCH_SIZES
        )
        self.commit_failures = create_counter(
            "callback_commit_failures", "Transactions of callbacks that failed"
        )

    def count(self, status: int, seconds: float) -> None:
        """Count an answered callback."""
        self.answers[status] += 1
        self.seconds.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        answers = CounterMetricFamily(
            "framehook_callbacks", "Callbacks of runs that were answered, by status", labels=["status"]
        )
        for status in sorted({200, *self.answers}):
            answers.add_metric([str(status)], self.answers[status])
        yield answers
        yield from super().collect()
