"""The headers that an endpoint's owner adds to each request: which are allowed, and how they change; pure.

Their values are secrets of the receiver, so they are never shown again; a response that repeats them is masked.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

MAX_HEADERS: Final = 10
MAX_TOTAL_CHARACTERS: Final = 8_192
MASK: Final = "********"
MIN_MASKED_CHARACTERS: Final = 6
"""A shorter value may be part of any word, so it is not masked."""
_RESERVED_PREFIXES: Final = ("content-", "webhook-", "proxy-")
_RESERVED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-request-id",
    }
)
"""Hop-by-hop headers, those of the message's framing, and those that the service sets."""
_SCHEMES: Final = frozenset({"basic", "bearer", "digest"})


def is_reserved(name: str) -> bool:
    """Tell whether the service or the connection sets this header."""
    return name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES)


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError, with a sentence, for a header that is reserved or given twice."""
    seen: set[str] = set()
    for name in names:
        if is_reserved(name):
            raise ValueError(f"the service sets {name} itself; choose another header")
        if name.lower() in seen:
            raise ValueError(f"{name} is given twice; the case of a header's name has no meaning")
        seen.add(name.lower())


def merge_headers(present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Set the headers that have a value, remove those that have none, and keep the others.

    Raises ValueError, with a sentence, if these are too many or too long.
    """
    changed = {name.lower() for name in changes}
    merged = {name: value for name, value in present.items() if name.lower() not in changed}
    merged |= {name: value for name, value in changes.items() if value is not None}
    if len(merged) > MAX_HEADERS:
        raise ValueError(f"an endpoint has at most {MAX_HEADERS} headers of its own")
    if sum(len(name) + len(value) for name, value in merged.items()) > MAX_TOTAL_CHARACTERS:
        raise ValueError(f"the headers of an endpoint have at most {MAX_TOTAL_CHARACTERS} characters in all")
    return merged


def encode_headers(headers: Mapping[str, str]) -> str | None:
    """Return the value of the column; None for no headers."""
    return msgspec.json.encode(headers).decode() if headers else None


def decode_headers(column: str | None) -> dict[str, str]:
    """Return the headers in a value of the column."""
    return {} if column is None else msgspec.json.decode(column, type=dict[str, str])


def mask_values(text: str, headers: Mapping[str, str]) -> str:
    """Replace the values of headers in what a receiver has sent back.

    Of a value such as `Bearer TOKEN` each word is masked.
    """
    words = {word for value in headers.values() for word in (value, *value.split())}
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= MIN_MASKED_CHARACTERS and word.lower() not in _SCHEMES:
            text = text.replace(word, MASK)
    return text
