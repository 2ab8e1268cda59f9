"""Serve the JavaScript modules of `service/web` to pages of any origin."""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.pages.static_files import file_response

_FOLDER = Path(__file__).parents[2] / "web"
CLIENT = "framehook.js"
MODULES = (CLIENT, "framehook-react.js", "framehook-element.js")
CACHE_SECONDS = 300
"""Pages get a new version this long after an upgrade; then they ask with the ETag."""
_HEADERS = {
    "Cache-Control": f"public, max-age={CACHE_SECONDS}",
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


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
        path = _FOLDER / name
        return await file_response(request, path, "text/javascript", _HEADERS, minify=name == CLIENT)

    return Route(f"/{name}", get, name=name)
