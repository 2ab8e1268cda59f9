"""The guides as HTML: their links lead to each other's pages, and their headings have GitHub's anchors."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

GUIDES_PATH: Final = "/docs/guides"
_PACKAGED: Final = Path(__file__).parents[2] / "docs"
_CHECKOUT: Final = Path(__file__).parents[3]
_OTHERS: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
_IMAGE_TYPES: Final = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Guide:
    """A guide: the last part of its path, its title and its text in Markdown."""

    name: str
    title: str
    text: str

    @property
    def path(self) -> str:
        return f"{GUIDES_PATH}/{self.name}"


@cache
def read_guides() -> Mapping[str, Guide]:
    """Return the guides by name: the README first, then those it is about, then the other two documents."""
    texts = [_read_other("README.md"), *_read_packaged(), *map(_read_other, _OTHERS[1:])]
    guides = [Guide(name, _title_of(text), text) for name, text in texts]
    return {guide.name: guide for guide in guides}


def find_image(name: str) -> tuple[Path, str] | None:
    """Return an image of the guides and its media type."""
    image = _PACKAGED / "images" / name
    media_type = _IMAGE_TYPES.get(image.suffix)
    return (image, media_type) if media_type is not None and image.is_file() else None


def render_guide(guide: Guide) -> str:
    """Return the guide as HTML; HTML in its text is shown as text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = parser.parse(guide.text)
    for heading, content in pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", anchor_of(content.content))
    for token in _walk(tokens):
        for attribute in ("href", "src"):
            if (target := token.attrGet(attribute)) is not None:
                token.attrSet(attribute, rewrite_link(str(target)))
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def rewrite_link(target: str) -> str:
    """Return a link between files of the repository as one between pages; others stay as they are."""
    path, hash_sign, anchor = target.partition("#")
    name = path.rpartition("/")[2]
    if re.match(r"[a-z]+:|$", path):
        return target
    if name.endswith(".md"):
        return f"{GUIDES_PATH}/{name.removesuffix('.md').lower()}{hash_sign}{anchor}"
    return f"{GUIDES_PATH}/images/{name}" if "images/" in path else target


def _walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])


def _read_packaged() -> list[tuple[str, str]]:
    return [_read(path) for path in sorted(_PACKAGED.glob("*.md")) if path.name not in _OTHERS]


def _read_other(name: str) -> tuple[str, str]:
    """Read a document that is beside the packages in a checkout and among the guides in a wheel."""
    packaged = _PACKAGED / name
    return _read(packaged if packaged.is_file() else _CHECKOUT / name)


def _read(path: Path) -> tuple[str, str]:
    return path.stem.lower(), path.read_text("utf-8")


def _title_of(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ").strip()
