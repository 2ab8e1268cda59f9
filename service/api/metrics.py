"""`GET /metrics`: what an operator watches, in Prometheus's text format. It tells of no user and no job."""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from service import queries
from service.api.state import State


class _Now(Collector):
    """The figures of one moment."""

    def __init__(self, active: dict[str, int], state: State) -> None:
        self._active = active
        self._state = state

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("framehook_jobs_active", "Exports pending or processing", labels=["status"])
        for status, count in self._active.items():
            jobs.add_metric([status], count)
        yield jobs
        written = self._state["writer"].written
        yield GaugeMetricFamily(
            "framehook_subscribers", "Open streams on this process", value=len(self._state["hub"])
        )
        yield CounterMetricFamily("framehook_callbacks", "Callbacks committed", value=written.changes)
        yield CounterMetricFamily("framehook_commits", "Transactions they took", value=written.batches)
        yield CounterMetricFamily(
            "framehook_commit_failures", "Transactions that failed", value=written.failures
        )
        sent = self._state["deliverer"].sent
        webhooks = CounterMetricFamily("framehook_webhooks", "Webhook attempts recorded", labels=["outcome"])
        for outcome, count in (("delivered", sent.delivered), ("failed", sent.failed)):
            webhooks.add_metric([outcome], count)
        yield webhooks
        yield CounterMetricFamily(
            "framehook_webhooks_superseded", "Deliveries dropped for newer ones", value=sent.superseded
        )
        down = len(self._state["supervisor"].down)
        yield GaugeMetricFamily(
            "framehook_loops_down", "Loops of this process that are not running", value=down
        )


async def metrics(request: Request[State]) -> Response:
    """Counts of this process since its start, and of active jobs in the database."""
    async with request.state["database"].reading() as session:
        active = await queries.active_by_status(session)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Now(active, request.state))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
