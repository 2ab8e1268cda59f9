"""Guess which body was sent from the one that was received; pure."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Any, Final

from service.webhooks.verifier.mistakes import Mistake

_BOM: Final = b"\xef\xbb\xbf"
_MAX_BYTES: Final = 1 << 16
_MAX_BRACKETS: Final = 64  # indenting makes a body longer by its depth times its length
_CHARACTER_SETS: Final = ("latin-1", "cp1252", "utf-16", "utf-16-le")
_LAYOUTS: Final[tuple[dict[str, Any], ...]] = (
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"indent": 4},
    {"indent": "\t"},
)


def generate_variants(body: bytes) -> Iterator[tuple[Mistake, bytes]]:
    """Yield what `body` may have been before it was changed, likeliest first, each once."""
    seen = {body}
    for mistake, variant in _generate_all(body):
        if variant not in seen:
            seen.add(variant)
            yield mistake, variant


def _generate_all(body: bytes) -> Iterator[tuple[Mistake, bytes]]:
    for variant in _vary_whitespace(body):
        yield Mistake.BODY_LINE_ENDS, variant
    for variant in _vary_encoding(body):
        yield Mistake.BODY_ENCODING, variant
    for variant in _vary_json_layout(body):
        yield Mistake.BODY_RESERIALISED, variant


def _vary_whitespace(body: bytes) -> Iterator[bytes]:
    yield body.strip()
    yield body + b"\n"
    yield body + b"\r\n"
    yield body.replace(b"\r\n", b"\n")
    yield body.replace(b"\r\n", b"\n").rstrip()
    yield body.replace(b"\n", b"\r\n")


def _vary_encoding(body: bytes) -> Iterator[bytes]:
    yield body.removeprefix(_BOM)
    yield _BOM + body
    for other in _CHARACTER_SETS:
        with suppress(UnicodeError):
            yield body.decode("utf-8").encode(other)
        with suppress(UnicodeError):
            yield body.decode(other).encode("utf-8")


def _vary_json_layout(body: bytes) -> Iterator[bytes]:
    document = _parse_json(body)
    if document is None:
        return
    if isinstance(document, str):  # wrapped as a string in another document
        yield document.encode("utf-8", "replace")
    for sort_keys, layout, ensure_ascii in product((False, True), _LAYOUTS, (False, True)):
        text = json.dumps(document, ensure_ascii=ensure_ascii, sort_keys=sort_keys, **layout)
        yield text.encode("utf-8", "replace")
        yield text.replace("/", "\\/").encode("utf-8", "replace")  # as PHP writes it


def _parse_json(body: bytes) -> Any:
    """Return the JSON document in a body; None if it is too large to serialise often."""
    text = body.removeprefix(_BOM)
    if len(text) > _MAX_BYTES or text.count(b"[") + text.count(b"{") > _MAX_BRACKETS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
