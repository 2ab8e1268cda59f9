"""Middleware of every request: access log, allowed hosts, CORS."""

from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from infra.telemetry import AccessLog
from service.api.known_hosts import KnownHosts
from service.settings import Settings

# What pages of other origins may send and read: the API's own headers, and those that signed URLs of a folder take.
CORS_REQUEST_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent"),
    *("Content-MD5", "If-Range", "Range"),
)
CORS_RESPONSE_HEADERS = (
    "Location",
    "Retry-After",
    "ETag",
    "Content-Disposition",
    "Content-Range",
    "Accept-Ranges",
)


def create_middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware that every request passes, outermost first."""
    layers = [Middleware(AccessLog)]
    if not settings.authenticated:
        # Without authentication a web page could reach the service by DNS rebinding: resolve its own name to this host.
        public = urlsplit(settings.origin).hostname or "127.0.0.1"
        layers.append(Middleware(KnownHosts, hosts=("localhost", "127.0.0.1", "::1", public)))
    if settings.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.allowed_origins),
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=CORS_REQUEST_HEADERS,
                expose_headers=CORS_RESPONSE_HEADERS,
            )
        )
    return layers
