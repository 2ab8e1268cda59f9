"""`GET /metrics` in Prometheus's text format or OpenMetrics: on a port of its own, or with its token."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.problem_handlers import problem_response
from service.api.state import State
from service.dispatch.runners import RunnerReadiness
from service.fanout.hub import Hub
from service.metrics.database_figures import DatabaseFigures
from service.metrics.recorder import ExportRecorder
from service.problems import NotFound, Unauthenticated

PATH = "/metrics"


@dataclass(frozen=True)
class Scraper:
    """What a scrape reads, what records the ends that it shows, and who may scrape.

    Without authentication, the service listens on this machine only, and all who are on it may.
    """

    registry: CollectorRegistry
    figures: DatabaseFigures
    recorder: ExportRecorder
    port: int | None = None
    token: str | None = None
    is_public: bool = False

    def check_access(self, request: Request[State]) -> None:
        """Raise NotFound where metrics are not shown, Unauthenticated without their token."""
        if self.port is not None and _port_of(request.scope) != self.port:
            raise NotFound("The metrics have a port of their own: METRICS_PORT.")
        if self.token is not None:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.token.encode()):
                raise Unauthenticated(
                    "Send `Authorization: Bearer <token>` with the token in METRICS_TOKEN.",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        elif self.port is None and not self.is_public:
            raise NotFound("The metrics are not shown. To see them, set METRICS_PORT or METRICS_TOKEN.")


class MetricsPort:
    """Middleware that answers nothing but scrapes on the port of the metrics."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and _port_of(scope) == self._port and scope["path"] != PATH:
            await problem_response(NotFound(f"This port has only {PATH}."), scope["path"])(
                scope, receive, send
            )
        else:
            await self._app(scope, receive, send)


def describe_streams(hub: Hub) -> Iterator[Metric]:
    """Yield how many states were left out of streams."""
    yield CounterMetricFamily(
        "framehook_stream_states_conflated",
        "States that a stream did not get, because a newer one came before it could",
        value=hub.conflated,
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
    credential=Credential.METRICS,
    answers={200: Answer("The metrics.", media_type="text/plain")},
    problems=(NotFound, Unauthenticated),
)
async def metrics(request: Request[State]) -> Response:
    """Report what this process counts, and the active and pending rows of the database.

    With `Accept: application/openmetrics-text` histograms have exemplars, which name an export and its trace.
    """
    scraper = request.state["scraper"]
    scraper.check_access(request)
    await scraper.figures.refresh()
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(
        encode(scraper.registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"}
    )


def _port_of(scope: Scope) -> int | None:
    """Return the port that the connection came to; what the request claims does not count."""
    server = scope.get("server")
    return server[1] if server else None
