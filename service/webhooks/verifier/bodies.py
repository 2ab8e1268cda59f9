"""From the body that somebody holds to the bodies that may have been sent; pure."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Final

from service.webhooks.verifier.mistakes import Mistake

_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_BYTES: Final = 1 << 16
_MOST_BRACKETS: Final = 64  # indenting makes a body longer by its depth times its length
_CHARACTER_SETS: Final = ("latin-1", "cp1252", "utf-16", "utf-16-le")
_LAYOUTS: Final[tuple[dict[str, Any], ...]] = (
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"indent": 4},
    {"indent": "\t"},
)


def variants(body: bytes) -> Iterator[tuple[Mistake, bytes]]:
    """What `body` may have been before something on the way changed it, likeliest first, none twice."""
    seen = {body}
    for mistake, variant in _all(body):
        if variant not in seen:
            seen.add(variant)
            yield mistake, variant


def _all(body: bytes) -> Iterator[tuple[Mistake, bytes]]:
    for variant in _edges(body):
        yield Mistake.BODY_LINE_ENDS, variant
    for variant in _encodings(body):
        yield Mistake.BODY_ENCODING, variant
    for variant in _layouts(body):
        yield Mistake.BODY_RESERIALISED, variant


def _edges(body: bytes) -> Iterator[bytes]:
    yield body.strip()
    yield body + b"\n"
    yield body + b"\r\n"
    yield body.replace(b"\r\n", b"\n")
    yield body.replace(b"\r\n", b"\n").rstrip()
    yield body.replace(b"\n", b"\r\n")


def _encodings(body: bytes) -> Iterator[bytes]:
    yield body.removeprefix(_BOM)
    yield _BOM + body
    for other in _CHARACTER_SETS:
        with suppress(UnicodeError):
            yield body.decode("utf-8").encode(other)
        with suppress(UnicodeError):
            yield body.decode(other).encode("utf-8")


def _layouts(body: bytes) -> Iterator[bytes]:
    document = _document(body)
    if document is None:
        return
    if isinstance(document, str):  # wrapped as a string in another document
        yield document.encode("utf-8", "replace")
    for sort_keys, layout, ensure_ascii in product((False, True), _LAYOUTS, (False, True)):
        text = json.dumps(document, ensure_ascii=ensure_ascii, sort_keys=sort_keys, **layout)
        yield text.encode("utf-8", "replace")
        yield text.replace("/", "\\/").encode("utf-8", "replace")  # as PHP writes it


def _document(body: bytes) -> Any:
    """The document in a body, unless writing it anew in twenty ways would take long."""
    text = body.removeprefix(_BOM)
    if len(text) > _LONGEST_BYTES or text.count(b"[") + text.count(b"{") > _MOST_BRACKETS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
