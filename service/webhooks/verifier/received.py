"""What a consumer received, read as leniently as can be explained; pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callbacks.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from service.webhooks.verifier.mistakes import Mistake

HEADERS: Final = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
_DIGEST_BYTES: Final = frozenset({20, 32, 64})  # SHA-1, SHA-256, SHA-512
_MOST_SIGNATURES: Final = 20
_ID = re.compile(r"[!-\-/-~]{1,256}")
_SECONDS = re.compile(r"0|[1-9][0-9]{0,11}")
_MILLISECONDS = re.compile(r"[1-9][0-9]{12}")
_ENTRY = re.compile(r"(v[0-9]+[a-z]?),(.+)")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


class Unreadable(Exception):
    """A header is missing or malformed."""

    def __init__(self, mistake: Mistake, header: str, detail: str) -> None:
        super().__init__(detail)
        self.mistake = mistake
        self.header = header
        self.detail = detail


@dataclass(frozen=True)
class Digest:
    """The bytes of a signature, and what is wrong with the way they were written."""

    raw: bytes
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class Received:
    """The three headers: `symmetric` and `asymmetric` are the signatures of versions v1 and v1a."""

    message_id: str
    timestamp: int
    symmetric: tuple[Digest, ...]
    asymmetric: tuple[str, ...]
    versions: tuple[str, ...]


def read(headers: Mapping[str, str]) -> Received:
    """The headers, whatever the case of their names; raises Unreadable."""
    named = {name.lower(): value for name, value in headers.items()}
    for header in HEADERS:
        if not named.get(header):
            raise Unreadable(Mistake.HEADER_MISSING, header, f"The header {header} is missing.")
        if named[header] != named[header].strip():
            raise _malformed(header, "has spaces or line ends around its value")
    if not _ID.fullmatch(named[ID_HEADER]):
        raise _malformed(ID_HEADER, "is not 1 to 256 printable characters without space and dot")
    entries = _entries(named[SIGNATURE_HEADER])
    return Received(
        message_id=named[ID_HEADER],
        timestamp=_timestamp(named[TIMESTAMP_HEADER]),
        symmetric=tuple(found for version, value in entries if version == "v1" for found in digests(value)),
        asymmetric=tuple(f"{version},{value}" for version, value in entries if version == "v1a"),
        versions=tuple(dict.fromkeys(version for version, _ in entries)),
    )


def digests(written: str) -> tuple[Digest, ...]:
    """What a signature may stand for: base64, or something that is often taken for it."""
    text = written.removeprefix("v1,").removeprefix("sha256=")
    found = []
    if _HEX.fullmatch(text):
        found.append(Digest(bytes.fromhex(text), (Mistake.HEX,)))
    raw = _base64(text)
    if raw is not None:
        canonical = base64.b64encode(raw).decode() == text
        found.append(Digest(raw, () if canonical else (Mistake.OTHER_BASE64,)))
        if raw.isascii() and _HEX.fullmatch(raw.decode("ascii")):
            found.append(Digest(bytes.fromhex(raw.decode("ascii")), (Mistake.HEX,)))
    return tuple(digest for digest in found if len(digest.raw) in _DIGEST_BYTES)


def _timestamp(text: str) -> int:
    if _MILLISECONDS.fullmatch(text):
        raise _malformed(TIMESTAMP_HEADER, "is in milliseconds; it is sent in seconds")
    if not _SECONDS.fullmatch(text):
        raise _malformed(TIMESTAMP_HEADER, "is not a whole number of seconds since 1970")
    return int(text)


def _entries(text: str) -> list[tuple[str, str]]:
    matches = [_ENTRY.fullmatch(entry) for entry in text.split(" ")[:_MOST_SIGNATURES]]
    entries = [(match[1], match[2]) for match in matches if match]
    if not entries:
        raise _malformed(SIGNATURE_HEADER, "holds no signature of the form v1,<base64>")
    return entries


def _base64(text: str) -> bytes | None:
    """Also without padding, and in the alphabet of URLs."""
    try:
        return binascii.a2b_base64(
            text.rstrip("=").replace("-", "+").replace("_", "/") + "=" * (-len(text.rstrip("=")) % 4),
            strict_mode=True,
        )
    except ValueError:
        return None


def _malformed(header: str, what: str) -> Unreadable:
    return Unreadable(Mistake.HEADER_MALFORMED, header, f"The header {header} {what}.")
