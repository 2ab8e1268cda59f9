"""The page of the portal and its script; the rest it takes from the console."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Answer, Credential, Tag, declare_operation
from service.api.pages.console import send_page_file
from service.api.state import State

FOLDER: Final = Path(__file__).parents[2] / "web" / "portal"


@declare_operation(
    "get_portal",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={200: Answer("The page.", media_type="text/html"), 304: Answer("The page is still the same.")},
)
async def get_portal(request: Request[State]) -> Response:
    """Show the portal, on which the holder of a link manages webhooks."""
    return await _send(request, "index.html")


@declare_operation(
    "get_portal_script",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={
        200: Answer("The script.", media_type="text/javascript"),
        304: Answer("The script is still the same."),
    },
)
async def get_script(request: Request[State]) -> Response:
    """Get the script of the portal."""
    return await _send(request, "portal.js")


async def _send(request: Request[State], name: str) -> Response:
    return await send_page_file(request, FOLDER / name, request.state["console_files"].portal_policy)
