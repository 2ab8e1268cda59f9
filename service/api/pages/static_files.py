"""Serve files that change with the version only: compressed once, with an ETag."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from rcssmin import cssmin
from rjsmin import jsmin
from starlette.requests import Request
from starlette.responses import Response

MINIFIERS: Final[Mapping[str, Callable[[str], str]]] = {".css": cssmin, ".js": jsmin}
"""By suffix. They leave out comments and space; `jsmin` also spaces in templates that are inside of templates."""


async def file_response(
    request: Request[Any], path: Path, media_type: str, headers: Mapping[str, str], *, minify: bool = False
) -> Response:
    """Send a file of the installation, or the same without its comments and space."""
    content = await asyncio.to_thread(read_file, path, minify)
    return content_response(request, content, media_type, headers)


def content_response(
    request: Request[Any], content: "Content", media_type: str, headers: Mapping[str, str]
) -> Response:
    """Send content, compressed if the client takes that, or say that it has not changed."""
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    etag = f'"{content.digest}-gzip"' if is_compressed else f'"{content.digest}"'
    sent = {"ETag": etag, "Vary": "Accept-Encoding", **headers}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=sent)
    if is_compressed:
        sent["Content-Encoding"] = "gzip"
    return Response(content.compressed if is_compressed else content.raw, headers=sent, media_type=media_type)


class Content:
    """Bytes, the same compressed, and their digest."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.compressed = gzip.compress(raw, mtime=0)
        self.digest = hashlib.sha256(raw).hexdigest()[:32]


@cache
def read_file(path: Path, minify: bool) -> Content:
    """Read a file, a script or style without comments and space if `minify`."""
    minifier = MINIFIERS.get(path.suffix) if minify else None
    return Content(path.read_bytes() if minifier is None else minifier(path.read_text("utf-8")).encode())
