"""Sign and verify with ed25519, version `v1a` of Standard Webhooks; pure.

For consumers who prefer to keep no secret. https://github.com/standard-webhooks/standard-webhooks. A private key is
`whsk_` and the base64 of its seed and public key, as Svix writes it; the seed alone is accepted as well. A public key
is `whpk_` and the base64 of its 32 bytes.
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
_ID = re.compile(r"[!-\-/-~]{1,256}")  # as for v1: no dot, which separates the signed parts


def sign(key: Ed25519PrivateKey, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature as `v1a,<base64>`; ValueError for an ambiguous id or time."""
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id has 1 to 256 printable ASCII characters, no space and no dot")
    if timestamp < 0:
        raise ValueError("a timestamp is a whole number of seconds since 1970")
    return f"{VERSION}," + _to_base64(key.sign(f"{message_id}.{timestamp}.".encode() + body))


def verify(key: Ed25519PublicKey, signature: str, signed: bytes) -> bool:
    """Tell whether `v1a,<base64>` is the key's signature of `id.timestamp.body`.

    Only canonical base64 is accepted.
    """
    version, _, encoded = signature.partition(",")
    raw = _from_base64(encoded)
    if version != VERSION or raw is None or len(raw) != _SIGNATURE_BYTES:
        return False
    try:
        key.verify(raw, signed)
    except InvalidSignature:
        return False
    return True


def private_key_from_seed(seed: bytes) -> Ed25519PrivateKey:
    """Return the key of 32 random bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def encode_private(key: Ed25519PrivateKey) -> str:
    """Return the key as it is stored: `whsk_<base64>` of the seed and the public key."""
    return _PRIVATE_PREFIX + _to_base64(key.private_bytes_raw() + key.public_key().public_bytes_raw())


def decode_private(text: str) -> Ed25519PrivateKey:
    """Return the key of `whsk_…`; ValueError if it is invalid or its halves do not match.

    The error never quotes the key.
    """
    raw = _from_base64(text.removeprefix(_PRIVATE_PREFIX)) if text.startswith(_PRIVATE_PREFIX) else None
    if raw is None or len(raw) not in {SEED_BYTES, SEED_BYTES + _PUBLIC_BYTES}:
        raise ValueError("a private key is `whsk_` and the base64 of 32 or 64 bytes")
    key = private_key_from_seed(raw[:SEED_BYTES])
    if raw[SEED_BYTES:] not in {b"", key.public_key().public_bytes_raw()}:
        raise ValueError("the private key's public half belongs to another key")
    return key


def encode_public(key: Ed25519PublicKey) -> str:
    """Return the key as consumers see it: `whpk_<base64>`."""
    return _PUBLIC_PREFIX + _to_base64(key.public_bytes_raw())


def decode_public(text: str) -> Ed25519PublicKey:
    """Return the key of `whpk_…`; ValueError if it is invalid."""
    raw = _from_base64(text.removeprefix(_PUBLIC_PREFIX)) if text.startswith(_PUBLIC_PREFIX) else None
    if raw is None or len(raw) != _PUBLIC_BYTES:
        raise ValueError("a public key is `whpk_` and the base64 of 32 bytes")
    return Ed25519PublicKey.from_public_bytes(raw)


def _to_base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _from_base64(text: str) -> bytes | None:
    """Decode canonical base64; None for any other text."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return raw if _to_base64(raw) == text else None
