"""Middleware of every request: ports and allowed hosts. The log of requests and CORS come before it (`service.app`)."""

from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.types import Scope

from infra.telemetry import Response
from service.api.metrics import MetricsPort
from service.api.origins.known_hosts import KnownHosts
from service.settings import Settings


def create_middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware that every request passes, outermost first."""
    layers: list[Middleware] = []
    if settings.metrics_port is not None:
        layers.append(Middleware(MetricsPort, port=settings.metrics_port))
    if not settings.authenticated:
        # Without authentication a web page could reach the service by DNS rebinding: resolve its own name to this host.
        public = urlsplit(settings.origin).hostname or "127.0.0.1"
        layers.append(Middleware(KnownHosts, hosts=("localhost", "127.0.0.1", "::1", public)))
    return layers


def count_request(scope: Scope, response: Response) -> None:
    """Count a request that was answered."""
    scope["state"]["metrics"].requests.count(
        scope, response.status, response.seconds, is_stream=response.is_stream
    )
