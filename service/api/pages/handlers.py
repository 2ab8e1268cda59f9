"""`/docs` and `/docs/guides`: pages that anyone may read, and that load nothing from elsewhere."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from swagger_ui_bundle import swagger_ui_path

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.pages.guide_rendering import find_image, read_guides, render_guide
from service.api.pages.layout import ASSETS, PAGE_HEADERS, render_page
from service.api.pages.static_files import Content, content_response, file_response
from service.problems import NotFound

HTML: Final = "text/html"
_SWAGGER_UI = Path(swagger_ui_path)
_ASSETS: Final = {
    "swagger-ui.css": (_SWAGGER_UI, "text/css"),
    "swagger-ui-bundle.js": (_SWAGGER_UI, "text/javascript"),
    "favicon-32x32.png": (_SWAGGER_UI, "image/png"),
    "pages.css": (ASSETS, "text/css"),
    "reference.js": (ASSETS, "text/javascript"),
}
_REFERENCE_HEAD: Final = """\
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<script src="/docs/assets/swagger-ui-bundle.js" defer></script>
<script src="/docs/assets/reference.js" defer></script>"""
_PAGE: Final = {200: Answer("The page.", media_type=HTML), 304: Answer("The page is still the same.")}


@declare_operation("get_reference", Tag.DOCUMENTS, credential=Credential.ANYONE, answers=_PAGE)
async def show_reference(request: Request) -> Response:
    """Show the interactive reference of the API."""
    return content_response(request, await asyncio.to_thread(_build_page, "/docs"), HTML, PAGE_HEADERS)


@declare_operation("get_guide", Tag.DOCUMENTS, credential=Credential.ANYONE, answers=_PAGE)
async def show_guide(request: Request) -> Response:
    """Show a guide."""
    guide = read_guides().get(request.path_params["guide"])
    if guide is None:
        raise NotFound("There is no such guide.")
    return content_response(request, await asyncio.to_thread(_build_page, guide.path), HTML, PAGE_HEADERS)


@declare_operation(
    "get_guide_image",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={200: Answer("The image.", media_type="image/*"), 304: Answer("The image is still the same.")},
)
async def show_image(request: Request) -> Response:
    """Show an image of the guides."""
    image = find_image(request.path_params["image"])
    if image is None:
        raise NotFound("There is no such image.")
    return await file_response(request, *image, PAGE_HEADERS)


@declare_operation(
    "get_page_asset",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={200: Answer("The file.", media_type="*/*"), 304: Answer("The file is still the same.")},
)
async def show_asset(request: Request) -> Response:
    """Get a script or a style of the pages."""
    name = request.path_params["asset"]
    if name not in _ASSETS:
        raise NotFound("There is no such file.")
    folder, media_type = _ASSETS[name]
    return await file_response(request, folder / name, media_type, PAGE_HEADERS)


@cache
def _build_page(path: str) -> Content:
    guides = read_guides()
    links = [(guide.path, guide.title) for guide in guides.values() if guide.name != "readme"]
    if path == "/docs":
        body, title, head = '<main id="reference"></main>', "API reference", _REFERENCE_HEAD
    else:
        guide = next(guide for guide in guides.values() if guide.path == path)
        body, title, head = f'<main class="guide">{render_guide(guide)}</main>', guide.title, ""
    return Content(render_page(f"{title} · Framehook", body, links, path=path, head=head))
