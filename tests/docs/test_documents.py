"""Documents are complete, short where they promise to be, and lead nowhere that does not exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import DOCUMENTS, GUIDES, ROOT, read_blocks, read_prose

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LANGUAGES = {
    "console",
    "sh",
    "python",
    "js",
    "tsx",
    "html",
    "json",
    "text",
    "toml",
    "mermaid",
    "http",
    "nginx",
    "caddy",
    "sql",
    "php",
    "ruby",
    "go",
}


def links_of(document: Path) -> Iterator[str]:
    """Yield the targets of a document's links, code blocks left out."""
    yield from LINK.findall(read_prose(document))


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    broken = []
    for link in links_of(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_code_blocks_say_what_they_are_and_python_parses(document: Path) -> None:
    for block in read_blocks(document):
        assert block.language in LANGUAGES, f"line {block.line}"
        if block.language == "python":
            ast.parse(block.text)


def test_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_every_guide_is_linked_from_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links_of(ROOT / "README.md")}
    guides = {path.resolve() for path in GUIDES.glob("*.md")}
    assert guides - linked == set()
