"""Standard Webhooks signatures and per-attempt keys; pure. https://www.standardwebhooks.com

The signed message is `id.timestamp.body`, and an id contains no dot, so every byte belongs to exactly one field.
"""

import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
TOLERANCE_SECONDS: Final = 300
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the public prefix, not a secret
_HASH_BYTES: Final = 32
_MAX_SIGNATURE_HEADER: Final = 2_048
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_ID = re.compile(r"[!-\-/-~]{1,256}")  # printable ASCII but space and dot
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,14}")


class VerificationFailed(Exception):
    """The request is not signed by a known key; `reason` is safe to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TimestampOutOfRange(VerificationFailed):
    """The timestamp is too old, or too far in the future."""


def derive_attempt_key(master: bytes, job_id: str, attempt: int) -> bytes:
    """Derive the 32-byte key of one attempt: HKDF-SHA256 (RFC 5869) without salt, info `job_id:attempt`.

    A single block of output takes one round of the expansion, so the derivation is two HMACs.
    """
    info = f"{job_id}:{attempt}".encode("utf-8", "surrogatepass")
    extracted = hmac.digest(bytes(_HASH_BYTES), master, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign `body` and return `v1,<base64>`; raises ValueError for arguments that `verify` never accepts."""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a signing key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
    if not _ID.fullmatch(message_id):
        raise ValueError("a message id has 1 to 256 printable ASCII characters, no space and no dot")
    if not _TIMESTAMP.fullmatch(str(timestamp)):
        raise ValueError("a timestamp is a whole number of seconds since 1970")
    return _signature(key, f"{message_id}.{timestamp}.".encode() + body)


def signature_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three signature headers."""
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: sign(key, message_id, timestamp, body),
    }


def verify(
    keys: Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> str:
    """Return the webhook-id of a request that one of `keys` signed; raises only VerificationFailed.

    Header names are in lower case. Unknown signature versions are skipped. The encoded text is compared, so that only
    the canonical base64 of a signature is accepted.
    """
    message_id = headers.get(ID_HEADER)
    timestamp = headers.get(TIMESTAMP_HEADER)
    signatures = headers.get(SIGNATURE_HEADER)
    if not (isinstance(message_id, str) and isinstance(timestamp, str) and isinstance(signatures, str)):
        raise VerificationFailed("a signature header is missing")
    if not _ID.fullmatch(message_id):
        raise VerificationFailed("malformed webhook-id")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise VerificationFailed("malformed webhook-timestamp")
    if len(signatures) > _MAX_SIGNATURE_HEADER or not signatures.isascii():
        raise VerificationFailed("malformed webhook-signature")
    _check_age(now - int(timestamp), tolerance_seconds)
    message = f"{message_id}.{timestamp}.".encode() + body
    candidates = signatures.split(" ")
    for key in keys:
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            continue  # an empty key would let anyone sign
        expected = _signature(key, message)
        for candidate in candidates:
            if hmac.compare_digest(expected, candidate):
                return message_id
    raise VerificationFailed("no signature matches")


def decode_secret(secret: str) -> bytes:
    """Return the key in a `whsec_…` secret; raises ValueError, without quoting it, unless it is canonical."""
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        key = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise ValueError("a webhook secret is `whsec_` and base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a webhook secret holds {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
    if encode_secret(key) != secret:
        raise ValueError("a webhook secret is `whsec_` and canonical base64")
    return key


def encode_secret(key: bytes) -> str:
    """Encode a key in the form that consumers get: `whsec_<base64>`."""
    return _SECRET_PREFIX + binascii.b2a_base64(key, newline=False).decode()


def _check_age(age_seconds: float, tolerance_seconds: float) -> None:
    if age_seconds > tolerance_seconds:
        raise TimestampOutOfRange("webhook-timestamp too old")
    if age_seconds < -tolerance_seconds:
        raise TimestampOutOfRange("webhook-timestamp too new")


def _signature(key: bytes, message: bytes) -> str:
    inner_pad, outer_pad = _hash_pads(key)
    inner, outer = inner_pad.copy(), outer_pad.copy()
    inner.update(message)
    outer.update(inner.digest())
    return "v1," + binascii.b2a_base64(outer.digest(), newline=False).decode()


@lru_cache(maxsize=10_000)
def _hash_pads(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Return SHA-256 of the two padded keys that HMAC begins with (RFC 2104): copies take a third of `hmac`'s time.

    A key has at most MAX_KEY_BYTES, which is a block, so it is not hashed itself.
    """
    block = key.ljust(MAX_KEY_BYTES, b"\0")
    return hashlib.sha256(block.translate(_INNER_PAD)), hashlib.sha256(block.translate(_OUTER_PAD))
