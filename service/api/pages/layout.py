"""The frame of every page: its navigation, and the headers that keep it from loading anything from elsewhere."""

from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Final

ASSETS = Path(__file__).parent / "assets"
PAGE_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",  # the styles of Swagger UI are partly inline
    "Cache-Control": "no-cache",
}


def render_page(
    title: str, body: str, links: Iterable[tuple[str, str]], *, path: str, head: str = ""
) -> bytes:
    """Return a page; `links` are the paths and titles of the guides, `path` is that of the page itself."""
    navigation = " ".join(
        f'<a href="{escape(target)}"{_mark_current(target == path)}>{escape(text)}</a>'
        for target, text in links
    )
    return (
        _read_template()
        .substitute(
            title=escape(title),
            head=f'<link rel="stylesheet" href="/docs/assets/pages.css">\n{head}',
            links=navigation,
            reference=_mark_current(path == "/docs"),
            body=body,
        )
        .encode()
    )


def _mark_current(is_current: bool) -> str:
    return ' aria-current="page"' if is_current else ""


@cache
def _read_template() -> Template:
    return Template((ASSETS / "page.html").read_text("utf-8"))
