"""Cross-origin resource sharing: let pages of allowed origins send requests and read every response.

Starlette's middleware allows credentials to all origins or to none, and runs inside of what answers unexpected errors;
responses that the server sends before the application need the headers too.
"""

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.origins.policy import OriginPolicy
from service.api.problem_handlers import problem_response
from service.problems import Problem

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_SECONDS: Final = 7_200  # Chromium remembers no longer
EXPOSED: Final = ", ".join(
    (
        *("ETag", "Location", "Retry-After", "Content-Length", "Content-Range", "Accept-Ranges"),
        *("Content-Disposition", "WWW-Authenticate", "X-Request-ID", "RateLimit", "RateLimit-Policy"),
        *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    )
)

HeaderList = list[tuple[bytes, bytes]]


class OriginNotAllowed(Problem):
    title = "Pages of this origin may not use the service; name the origin in ALLOWED_ORIGINS."
    status = 400
    code = "origin_not_allowed"


class CrossOrigin:
    """The headers of CORS by the policy of origins."""

    def __init__(self, policy: OriginPolicy) -> None:
        self._policy = policy

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return the application with preflight requests answered, and headers on all its responses."""

        async def share(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers:
                answer = self._answer_preflight(scope["path"], origin, headers)
                if answer.status_code == OriginNotAllowed.status:
                    scope["state"]["metrics"].requests.rejected.labels(OriginNotAllowed.code).inc()
                await answer(scope, receive, send)
                return

            async def send_shared(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message.setdefault("headers", [])
                    self._add_headers(MutableHeaders(scope=message), origin)
                await send(message)

            await app(scope, receive, send_shared)

        return share

    def list_headers(self, origin: str | None) -> HeaderList:
        """Return the headers of a response that no application made; None if the origin has not been read."""
        headers = MutableHeaders()
        self._add_headers(headers, origin)
        if origin is None and self._policy.allows_pages:  # the response says only that the request failed
            headers["Access-Control-Allow-Origin"] = "*"
            headers["Access-Control-Expose-Headers"] = EXPOSED
        return headers.raw

    def _add_headers(self, headers: MutableHeaders, origin: str | None) -> None:
        headers.add_vary_header("Origin")
        if origin is None or not self._policy.may_read(origin):
            return
        headers["Access-Control-Expose-Headers"] = EXPOSED
        if self._policy.is_named(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
        else:
            headers["Access-Control-Allow-Origin"] = "*"

    def _answer_preflight(self, path: str, origin: str, headers: Headers) -> Response:
        """Allow a request with any headers, or refuse the origin."""
        if not self._policy.may_read(origin):
            self._policy.refusals.record(origin, "a request")
            return problem_response(OriginNotAllowed(), path)
        response = Response()
        self._add_headers(response.headers, origin)
        response.headers.add_vary_header("Access-Control-Request-Method, Access-Control-Request-Headers")
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        requested = headers.get("access-control-request-headers")
        if requested is not None:
            response.headers["Access-Control-Allow-Headers"] = requested
        if "access-control-request-private-network" in headers:
            response.headers["Access-Control-Allow-Private-Network"] = "true"
        return response
