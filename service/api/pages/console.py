"""The console: the page at `/`, its files, and a sample video for those who have none at hand."""

import asyncio
import json
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gpu.export_types.registry import get_export_types
from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.pages.static_files import Content, content_response, read_file
from service.api.state import ConsoleFiles, State
from service.problems import NotFound, Unavailable
from service.sample_file import SampleFile
from service.settings import Settings
from service.webhooks.endpoints import DEFAULT_EVENTS
from service.webhooks.models import EndpointFormat, WebhookEvent

NOBODY = "'none'"
CONTENT_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER = Path(__file__).parents[2] / "web" / "console"
PAGE = _FOLDER / "index.html"
FILES = {
    path.relative_to(_FOLDER).as_posix(): path
    for path in sorted(_FOLDER.rglob("*"))
    if path.suffix in CONTENT_TYPES and path != PAGE
}

CHOICES = "choices.js"
"""A module that is made of what the API accepts, so that fields offer all of it."""


def create_console_files(settings: Settings) -> ConsoleFiles:
    """Return the policies for the addresses of files and frames, and the sample in the data folder."""
    origins = (settings.origin, *_storage_origins(settings))
    return ConsoleFiles(
        content_policy(origins),
        content_policy((), settings.portal_frame_ancestors),
        SampleFile(settings.data_dir),
    )


def _storage_origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins of a bucket's signed URLs; none without a bucket."""
    if settings.r2_endpoint_url is None:
        return ()
    url = urlsplit(settings.r2_endpoint_url)
    return f"{url.scheme}://{url.netloc}", f"{url.scheme}://{settings.r2_bucket_name}.{url.netloc}"


def content_policy(file_origins: tuple[str, ...], frame_ancestors: tuple[str, ...] = ()) -> str:
    """Return the Content-Security-Policy: nothing from elsewhere, except files of the public URL and the bucket.

    The page may be open at another address than the public one, such as that of a tunnel for Modal. Pages of
    `frame_ancestors` may show it in a frame.
    """
    own_and_files = " ".join(("'self'", *file_origins))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            f"media-src {own_and_files} blob:",
            f"connect-src {own_and_files}",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {' '.join(frame_ancestors) or NOBODY}",
        )
    )


@declare_operation(
    "get_console",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={200: Answer("The page.", media_type="text/html"), 304: Answer("The page is still the same.")},
)
async def get_page(request: Request[State]) -> Response:
    """Show the console, which makes and follows exports in the browser."""
    return await send_page_file(request, PAGE, request.state["console_files"].content_policy)


@declare_operation(
    "get_console_file",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={
        200: Answer("The file.", media_type="text/javascript"),
        304: Answer("The file is still the same."),
    },
    problems=(NotFound,),
)
async def get_console_file(request: Request[State]) -> Response:
    """Get a script, a style or a picture of the console."""
    name = str(request.path_params["file"])
    policy = request.state["console_files"].content_policy
    if name == CHOICES:
        return _send_content(request, _render_choices(), ".js", policy)
    path = FILES.get(name)
    if path is None:
        raise NotFound
    return await send_page_file(request, path, policy)


@declare_operation(
    "get_sample",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={200: Answer("The video.", media_type="video/mp4")},
    problems=(Unavailable,),
)
async def get_sample(request: Request[State]) -> Response:
    """Get the sample video, ten seconds of a moving ball; it is created when it is asked for first."""
    try:
        path = await request.state["console_files"].sample.load()
    except OSError as error:
        raise Unavailable("The sample video can't be created on this machine; see the log.") from error
    return FileResponse(path, media_type="video/mp4", headers={"Cache-Control": "no-cache"})


async def send_page_file(request: Request[State], path: Path, policy: str) -> Response:
    """Send a file of a page with this Content-Security-Policy."""
    return _send_content(request, await asyncio.to_thread(read_file, path, True), path.suffix, policy)


def _send_content(request: Request[State], content: Content, suffix: str, policy: str) -> Response:
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return content_response(request, content, CONTENT_TYPES[suffix], headers)


@cache
def _render_choices() -> Content:
    choices = {
        "EVENTS": list(WebhookEvent),
        "DEFAULT_EVENTS": DEFAULT_EVENTS,
        "FORMATS": list(EndpointFormat),
        "TYPES": get_export_types().names,
    }
    lines = (f"export const {name}={json.dumps(values)};" for name, values in choices.items())
    return Content("".join(lines).encode())
