"""`GET /metrics` in Prometheus's text format, for operators; without user or job ids."""

from collections.abc import Iterator
from itertools import accumulate
from math import isinf

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.state import State
from service.dispatch.runners import RunnerReadiness
from service.jobs import queries
from service.webhooks.due_query import count_pending
from service.webhooks.send import DELAY_BUCKETS


class _Snapshot(Collector):
    """The metrics at one moment."""

    def __init__(self, active: dict[str, int], webhooks_pending: int, state: State) -> None:
        self._active = active
        self._webhooks_pending = webhooks_pending
        self._state = state

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("framehook_jobs_active", "Exports pending or processing", labels=["status"])
        for status, count in self._active.items():
            jobs.add_metric([status], count)
        yield jobs
        written = self._state["writer"].stats
        yield GaugeMetricFamily(
            "framehook_subscribers", "Open streams on this process", value=len(self._state["hub"])
        )
        yield CounterMetricFamily("framehook_callbacks", "Callbacks committed", value=written.changes)
        yield CounterMetricFamily("framehook_commits", "Transactions they took", value=written.batches)
        yield CounterMetricFamily(
            "framehook_commit_failures", "Transactions that failed", value=written.failures
        )
        yield from describe_runner(self._state["runner_readiness"])
        yield from self._webhooks()
        down = len(self._state["supervisor"].down)
        yield GaugeMetricFamily(
            "framehook_loops_down", "Loops of this process that are not running", value=down
        )

    def _webhooks(self) -> Iterator[Metric]:
        sent = self._state["delivery_worker"].metrics
        webhooks = CounterMetricFamily("framehook_webhooks", "Webhook attempts recorded", labels=["outcome"])
        for outcome, count in (("delivered", sent.delivered), ("failed", sent.failed)):
            webhooks.add_metric([outcome], count)
        yield webhooks
        yield CounterMetricFamily(
            "framehook_webhooks_superseded", "Deliveries dropped for newer ones", value=sent.superseded
        )
        yield GaugeMetricFamily(
            "framehook_webhooks_pending",
            "Deliveries in the database that are to be made, or tried again",
            value=self._webhooks_pending,
        )
        yield GaugeMetricFamily(
            "framehook_webhooks_under_way",
            "Attempts that this process is making",
            value=self._state["delivery_worker"].in_flight,
        )
        bounds = ["+Inf" if isinf(bound) else str(bound) for bound in DELAY_BUCKETS]
        yield HistogramMetricFamily(
            "framehook_webhook_delay_seconds",
            "From an event's commit to its delivery, where the first attempt succeeded",
            buckets=list(zip(bounds, accumulate(sent.delays), strict=True)),
            sum_value=sent.delays_seconds,
        )


def describe_runner(readiness: RunnerReadiness) -> Iterator[Metric]:
    """Yield whether an outage of the runner keeps all exports waiting, and how many starts it has refused."""
    yield GaugeMetricFamily(
        "framehook_runner_outage",
        "1 while the runner can't start any export, so that all wait",
        value=int(readiness.outage is not None),
    )
    yield CounterMetricFamily(
        "framehook_runner_refused_starts",
        "Starts that the runner has refused",
        value=readiness.refused_starts,
    )


@declare_operation(
    "get_metrics",
    Tag.OPERATION,
    credential=Credential.ANYONE,
    answers={200: Answer("The metrics.", media_type="text/plain")},
)
async def metrics(request: Request[State]) -> Response:
    """Report the counters of this process, and the active and pending rows of the database."""
    async with request.state["database"].reading() as session:
        active = await queries.count_active_by_status(session)
        webhooks_pending = await count_pending(session)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(active, webhooks_pending, request.state))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
