"""Ed25519 signatures of Standard Webhooks, `v1a`, for consumers who rather hold no secret; pure.

https://github.com/standard-webhooks/standard-webhooks. A private key is `whsk_` and the base64 of seed and public key,
as Svix writes it; the seed alone is read as well. A public key is `whpk_` and the base64 of its 32 bytes.
"""

import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

VERSION: Final = "v1a"
SEED_BYTES: Final = 32
_PRIVATE_PREFIX: Final = "whsk_"
_PUBLIC_PREFIX: Final = "whpk_"
_PUBLIC_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_ID = re.compile(r"[!-\-/-~]{1,256}")  # as for v1: what is signed is split at dots


def sign(key: Ed25519PrivateKey, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of `body`, as `v1a,<base64>`; ValueError for an id or a time that would be ambiguous."""
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id has 1 to 256 printable ASCII characters, no space and no dot")
    if timestamp < 0:
        raise ValueError("a timestamp is a whole number of seconds since 1970")
    return f"{VERSION}," + _encoded(key.sign(f"{message_id}.{timestamp}.".encode() + body))


def verify(key: Ed25519PublicKey, signature: str, signed: bytes) -> bool:
    """Whether `v1a,<base64>` is the key's signature of `id.timestamp.body`, in its one canonical spelling."""
    version, _, encoded = signature.partition(",")
    raw = _decoded(encoded)
    if version != VERSION or raw is None or len(raw) != _SIGNATURE_BYTES:
        return False
    try:
        key.verify(raw, signed)
    except InvalidSignature:
        return False
    return True


def private_key(seed: bytes) -> Ed25519PrivateKey:
    """The key of 32 random bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def encode_private(key: Ed25519PrivateKey) -> str:
    """A key as it is kept: `whsk_<base64>` of the seed and the public key."""
    return _PRIVATE_PREFIX + _encoded(key.private_bytes_raw() + key.public_key().public_bytes_raw())


def decode_private(text: str) -> Ed25519PrivateKey:
    """The key in `whsk_…`; ValueError, which never quotes it, unless it is one and its halves belong together."""
    raw = _decoded(text.removeprefix(_PRIVATE_PREFIX)) if text.startswith(_PRIVATE_PREFIX) else None
    if raw is None or len(raw) not in {SEED_BYTES, SEED_BYTES + _PUBLIC_BYTES}:
        raise ValueError("a private key is `whsk_` and the base64 of 32 or 64 bytes")
    key = private_key(raw[:SEED_BYTES])
    if raw[SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise ValueError("the private key's public half belongs to another key")
    return key


def encode_public(key: Ed25519PublicKey) -> str:
    """A key as consumers are shown it: `whpk_<base64>`."""
    return _PUBLIC_PREFIX + _encoded(key.public_bytes_raw())


def decode_public(text: str) -> Ed25519PublicKey:
    """The key in `whpk_…`; ValueError unless it is one."""
    raw = _decoded(text.removeprefix(_PUBLIC_PREFIX)) if text.startswith(_PUBLIC_PREFIX) else None
    if raw is None or len(raw) != _PUBLIC_BYTES:
        raise ValueError("a public key is `whpk_` and the base64 of 32 bytes")
    return Ed25519PublicKey.from_public_bytes(raw)


def _encoded(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _decoded(text: str) -> bytes | None:
    """What canonical base64 stands for; None for any other text."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return raw if _encoded(raw) == text else None
