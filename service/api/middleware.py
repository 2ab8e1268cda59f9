"""Middleware of every request: access log and allowed hosts. CORS comes before it (`origins/cors.py`)."""

from urllib.parse import urlsplit

from starlette.middleware import Middleware

from infra.telemetry import AccessLog
from service.api.origins.known_hosts import KnownHosts
from service.settings import Settings


def create_middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware that every request passes, outermost first."""
    layers = [Middleware(AccessLog)]
    if not settings.authenticated:
        # Without authentication a web page could reach the service by DNS rebinding: resolve its own name to this host.
        public = urlsplit(settings.origin).hostname or "127.0.0.1"
        layers.append(Middleware(KnownHosts, hosts=("localhost", "127.0.0.1", "::1", public)))
    return layers
