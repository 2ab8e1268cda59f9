"""Serve files that change with the version only: compressed once, with an ETag."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

_INDENTATION = re.compile(r"^(?:\s|/\*.*?\*/|//[^\n]*)+", re.MULTILINE | re.DOTALL)
"""Also comments that begin a line."""
_LINE_END = re.compile(r"(?<=[;,{(\[])\n")


def strip_space(text: str) -> str:
    """Return a page, script or style without indentation and comments; no string of it runs over several lines."""
    return _LINE_END.sub("", _INDENTATION.sub("", text))


async def file_response(
    request: Request[Any], path: Path, media_type: str, headers: Mapping[str, str], *, strips: bool = False
) -> Response:
    """Send a file of the installation; `strips` leaves out the space that browsers skip."""
    content = await asyncio.to_thread(_read_file, path, strips)
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
def _read_file(path: Path, strips: bool) -> Content:
    return Content(strip_space(path.read_text("utf-8")).encode() if strips else path.read_bytes())
