"""Parse the headers that a consumer received, as leniently as can be explained; pure."""

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
_MAX_SIGNATURES: Final = 20
_ID = re.compile(r"[!-\-/-~]{1,256}")
_SECONDS = re.compile(r"0|[1-9][0-9]{0,11}")
_MILLISECONDS = re.compile(r"[1-9][0-9]{12}")
_ENTRY = re.compile(r"(v[0-9]+[a-z]?),(.+)")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


class UnreadableHeader(Exception):
    """A header is missing or malformed."""

    def __init__(self, mistake: Mistake, header: str, detail: str) -> None:
        super().__init__(detail)
        self.mistake = mistake
        self.header = header
        self.detail = detail


@dataclass(frozen=True)
class Digest:
    """The bytes of a signature, and the mistakes in how they were encoded."""

    raw: bytes
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class ReceivedHeaders:
    """The three headers; `hmac` holds the v1 signatures, `ed25519` those of v1a."""

    message_id: str
    timestamp: int
    hmac: tuple[Digest, ...]
    ed25519: tuple[str, ...]
    versions: tuple[str, ...]


def parse_headers(headers: Mapping[str, str]) -> ReceivedHeaders:
    """Parse the headers, in any case of their names; raises UnreadableHeader."""
    values = {name.lower(): value for name, value in headers.items()}
    for header in HEADERS:
        if not values.get(header):
            raise UnreadableHeader(Mistake.HEADER_MISSING, header, f"The header {header} is missing.")
        if values[header] != values[header].strip():
            raise _unreadable_header(header, "has spaces or line breaks around its value")
    if not _ID.fullmatch(values[ID_HEADER]):
        raise _unreadable_header(ID_HEADER, "is not 1 to 256 printable characters without spaces and dots")
    entries = _split_signatures(values[SIGNATURE_HEADER])
    return ReceivedHeaders(
        message_id=values[ID_HEADER],
        timestamp=_parse_timestamp(values[TIMESTAMP_HEADER]),
        hmac=tuple(
            digest for version, value in entries if version == "v1" for digest in parse_digests(value)
        ),
        ed25519=tuple(f"{version},{value}" for version, value in entries if version == "v1a"),
        versions=tuple(dict.fromkeys(version for version, _ in entries)),
    )


def parse_digests(signature: str) -> tuple[Digest, ...]:
    """Decode a signature as base64, and as encodings that are often confused with it."""
    text = signature.removeprefix("v1,").removeprefix("sha256=")
    candidates = []
    if _HEX.fullmatch(text):
        candidates.append(Digest(bytes.fromhex(text), (Mistake.HEX,)))
    raw = _decode_base64(text)
    if raw is not None:
        canonical = base64.b64encode(raw).decode() == text
        candidates.append(Digest(raw, () if canonical else (Mistake.OTHER_BASE64,)))
        if raw.isascii() and _HEX.fullmatch(raw.decode("ascii")):
            candidates.append(Digest(bytes.fromhex(raw.decode("ascii")), (Mistake.HEX,)))
    return tuple(digest for digest in candidates if len(digest.raw) in _DIGEST_BYTES)


def _parse_timestamp(text: str) -> int:
    if _MILLISECONDS.fullmatch(text):
        raise _unreadable_header(TIMESTAMP_HEADER, "is in milliseconds; it must be in seconds")
    if not _SECONDS.fullmatch(text):
        raise _unreadable_header(TIMESTAMP_HEADER, "is not a whole number of seconds since 1970")
    return int(text)


def _split_signatures(text: str) -> list[tuple[str, str]]:
    matches = [_ENTRY.fullmatch(entry) for entry in text.split(" ")[:_MAX_SIGNATURES]]
    entries = [(match[1], match[2]) for match in matches if match]
    if not entries:
        raise _unreadable_header(SIGNATURE_HEADER, "contains no signature of the form v1,<base64>")
    return entries


def _decode_base64(text: str) -> bytes | None:
    """Decode base64, also without padding and in the URL-safe alphabet."""
    try:
        return binascii.a2b_base64(
            text.rstrip("=").replace("-", "+").replace("_", "/") + "=" * (-len(text.rstrip("=")) % 4),
            strict_mode=True,
        )
    except ValueError:
        return None


def _unreadable_header(header: str, what: str) -> UnreadableHeader:
    return UnreadableHeader(Mistake.HEADER_MALFORMED, header, f"The header {header} {what}.")
