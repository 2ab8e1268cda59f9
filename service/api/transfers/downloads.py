"""Send an object to a client: from a file, with ranges, or by a redirect."""

from email.utils import parsedate_to_datetime

from starlette.requests import Request
from starlette.responses import FileResponse, MalformedRangeHeader, RedirectResponse, Response
from starlette.responses import RangeNotSatisfiable as EndsBeforeRange

from infra.storage import Download, FileDownload, Presentation, RedirectDownload, StoredObject
from service.api.openapi.operations import Answer
from service.api.state import State
from service.problems import NotFound, Problem

_FILE_HEADERS = {
    "ETag": "Names the bytes.",
    "Accept-Ranges": "`bytes`.",
    "Content-Disposition": "The name under which to save the file.",
}
DOWNLOAD_ANSWERS = {
    200: Answer("The file.", media_type="*/*", headers=_FILE_HEADERS),
    206: Answer(
        "A part of the file.", media_type="*/*", headers=_FILE_HEADERS | {"Content-Range": "The part."}
    ),
    304: Answer("The file is still the same."),
    307: Answer("The file is in a bucket.", headers={"Location": "A signed URL of the file."}),
}


class FileChanged(Problem):
    title = "The file is another one than that of the ETag in If-Match."
    status = 412
    code = "file_changed"


class RangeNotSatisfiable(Problem):
    title = "The file ends before the range; Content-Range has its size."
    status = 416
    code = "range_not_satisfiable"


DOWNLOAD_PROBLEMS = (FileChanged, RangeNotSatisfiable)


class RangedFile(FileResponse):
    """A file that is read by ranges as RFC 9110 says: a range that is malformed or of another unit is ignored."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []
        except EndsBeforeRange:
            raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{file_size}"}) from None


def download_response(
    request: Request[State], download: Download | None, presentation: Presentation
) -> Response:
    """Send the object; raises NotFound if there is none, or one of DOWNLOAD_PROBLEMS."""
    if download is None:
        raise NotFound("The file was deleted.")
    if isinstance(download, FileDownload):
        return _file_response(request, download, presentation)
    if request.method == "HEAD":  # a URL that is signed for GET takes no other method
        return _head_response(download, presentation)
    return RedirectResponse(download.url, 307, {"Cache-Control": "no-store"})


def _file_response(request: Request[State], download: FileDownload, presentation: Presentation) -> Response:
    """Send a file with Range, If-Range, ETag and conditions."""
    headers = {
        "ETag": f'"{download.stored.etag}"',
        "Cache-Control": "private, no-cache",
        "Content-Disposition": presentation.content_disposition,
        "Cross-Origin-Resource-Policy": "cross-origin",  # isolated pages play it too, if they have the URL
    }
    if not presentation.is_inline:
        headers["Content-Security-Policy"] = "sandbox"  # no script runs in it, however a browser opens it
    if _if_match_fails(request, download.stored):
        raise FileChanged(headers=headers)
    if _is_not_modified(request, download.stored):
        return Response(status_code=304, headers=headers)
    return RangedFile(download.path, media_type=presentation.content_type, headers=headers)


def _head_response(download: RedirectDownload, presentation: Presentation) -> Response:
    """Describe what a GET would be redirected to."""
    headers = {
        "Content-Length": str(download.stored.size),
        "Content-Disposition": presentation.content_disposition,
        "ETag": f'"{download.stored.etag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
    }
    return Response(headers=headers, media_type=presentation.content_type)


def _if_match_fails(request: Request[State], stored: StoredObject) -> bool:
    """Check If-Match: a client that reads by range wants all ranges from the same object."""
    expected = request.headers.get("if-match")
    return expected is not None and expected.strip() != "*" and f'"{stored.etag}"' not in _etags(expected)


def _is_not_modified(request: Request[State], stored: StoredObject) -> bool:
    """Check If-None-Match or, without it, If-Modified-Since (RFC 9110)."""
    expected = request.headers.get("if-none-match")
    if expected is not None:
        return expected.strip() == "*" or f'"{stored.etag}"' in _etags(expected)
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return int(stored.modified_at) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError, TypeError):
        return False


def _etags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
