"""Middleware of every request: ports, security headers, allowed hosts. The log and CORS come first (`service.app`)."""

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.telemetry import Response
from service.api.access.rate_limits import HEADERS as RATE_LIMIT_HEADERS
from service.api.metrics import MetricsPort
from service.api.origins.known_hosts import KnownHosts
from service.settings import Settings

HSTS_SECONDS = 365 * 24 * 3_600


class SecurityHeaders:
    """Adds headers to every response.

    They keep browsers from guessing types, from telling other sites our URLs, and from leaving TLS. Those of rate
    limits say how many requests are left to a user.
    """

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("http.response.start"):
                MutableHeaders(scope=message).update(self._headers | scope.get(RATE_LIMIT_HEADERS, {}))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_middleware(settings: Settings) -> list[Middleware]:
    """Return the middleware that every request passes, outermost first."""
    layers = [Middleware(SecurityHeaders, headers=_security_headers(settings))]
    if settings.metrics_port is not None:
        layers.append(Middleware(MetricsPort, port=settings.metrics_port))
    if not settings.authenticated:
        # Without authentication a web page could reach the service by DNS rebinding: resolve its own name to this host.
        public = urlsplit(settings.origin).hostname or "127.0.0.1"
        layers.append(Middleware(KnownHosts, hosts=("localhost", "127.0.0.1", "::1", public)))
    return layers


def _security_headers(settings: Settings) -> dict[str, str]:
    """Return the headers: a URL may contain a ticket or a signature, so it is no referrer."""
    headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    if settings.origin.startswith("https:"):
        headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"
    return headers


def count_request(scope: Scope, response: Response) -> None:
    """Count a request that was answered."""
    scope["state"]["metrics"].requests.count(
        scope, response.status, response.seconds, is_stream=response.is_stream
    )
