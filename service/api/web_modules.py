"""Serve the JavaScript modules of `service/web` to pages of any origin."""

import gzip
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation

MODULES = ("framehook.js",)
CACHE_SECONDS = 300
"""Pages get a new version this long after an upgrade; then they ask with the ETag."""


def web_module_route(name: str) -> Route:
    """Return the route of a module."""

    @declare_operation(
        f"get_{re.sub('[^a-z]', '_', name)}",
        Tag.DOCUMENTS,
        credential=Credential.ANYONE,
        answers={
            200: Answer("The module.", media_type="text/javascript", headers={"ETag": "Names the version."}),
            304: Answer("The module is still the same."),
        },
    )
    async def get(request: Request) -> Response:
        """Get a JavaScript module for pages of any origin."""
        return _module_response(request, name)

    return Route(f"/{name}", get, name=name)


@cache
def _read_module(name: str) -> tuple[bytes, bytes, str]:
    """Return a module, the same compressed, and its ETag without quotes."""
    content = (files("service") / "web" / name).read_bytes()
    return content, gzip.compress(content, mtime=0), hashlib.sha256(content).hexdigest()[:32]


def _module_response(request: Request, name: str) -> Response:
    content, compressed, digest = _read_module(name)
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    etag = f'"{digest}-gzip"' if is_compressed else f'"{digest}"'
    headers = {
        "ETag": etag,
        "Cache-Control": f"public, max-age={CACHE_SECONDS}",
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    body = compressed if is_compressed else content
    return Response(body, headers=headers, media_type="text/javascript")
