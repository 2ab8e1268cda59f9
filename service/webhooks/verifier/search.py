"""Search for the fewest mistakes that lead to a signature; pure.

A signature does not reveal what was signed, so the likely mistakes are tried: a few thousand HMACs at most, and fewer
for a long body.
"""

import binascii
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from callbacks.signing import TOLERANCE_SECONDS, encode_secret
from service.webhooks.ed25519 import verify
from service.webhooks.verifier.bodies import generate_variants
from service.webhooks.verifier.mistakes import Mistake
from service.webhooks.verifier.received import Digest, ReceivedHeaders

Mistakes = tuple[Mistake, ...]
MAX_MISTAKES: Final = 2
LARGE_BODY_BYTES: Final = 16_384
MAX_SENT: Final = 20  # messages, and keys of other endpoints
_NEAR_SECONDS: Final = 30
_PREFIX: Final = "whsec_"
_LIKE_BASE64: Final = str.maketrans("-_", "+/")
_SHAPES: Final = ("{id}.{timestamp}.", "", "{timestamp}.", "{id}.", "{id}{timestamp}", "{timestamp}.{id}.")


@dataclass(frozen=True)
class Keys:
    """Keys of an endpoint, and those of the user's other endpoints."""

    current: bytes
    previous: tuple[bytes, ...] = ()
    public: Ed25519PublicKey | None = None
    others: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class SentMessage:
    """A message that was sent to the endpoint."""

    message_id: str
    body: bytes


@dataclass(frozen=True)
class _Content:
    """What may have been signed, in two parts, since many of these share a body."""

    mistakes: Mistakes
    prefix: bytes
    body: bytes

    @property
    def signed(self) -> bytes:
        return self.prefix + self.body


@dataclass(frozen=True)
class _Secret:
    mistakes: Mistakes
    key: bytes
    hash_name: str


class Search:
    """Search what a message was when it was signed, and which key signed it."""

    def __init__(
        self, received: ReceivedHeaders, body: bytes, keys: Keys, sent: Sequence[SentMessage]
    ) -> None:
        self._received = received
        self._body = body
        self._keys = keys
        small = len(body) <= LARGE_BODY_BYTES
        self._max_mistakes = MAX_MISTAKES if small else 1
        self._max_seconds = TOLERANCE_SECONDS if small else _NEAR_SECONDS
        self._contents = tuple(_generate_contents(received, body, sent[:MAX_SENT]))
        self._secrets = tuple(_generate_secrets(keys))

    def explain_hmac(self, targets: Sequence[Digest]) -> Mistakes | None:
        """Return the mistakes that lead to a target: () if it is right, None if none do."""
        mistakes_by_digest = {target.raw: target.mistakes for target in targets}
        if not mistakes_by_digest:
            return None
        for content, secret in self._order_by_mistakes():
            digest = hmac.digest(secret.key, content.signed, secret.hash_name)
            if digest in mistakes_by_digest:
                return secret.mistakes + content.mistakes + mistakes_by_digest[digest]
        return self._explain_by_time(mistakes_by_digest)

    def explain_ed25519(self, signatures: Sequence[str]) -> Mistakes | None:
        """Do the same for ed25519, with one mistake at most: verifying takes far longer."""
        key = self._keys.public
        if key is None:
            return None
        for signature in signatures[:2]:
            for content in self._contents:
                if len(content.mistakes) < MAX_MISTAKES and verify(key, signature, content.signed):
                    return content.mistakes
            if any(verify(key, signature, signed) for signed in self._shift_time(_NEAR_SECONDS)):
                return (Mistake.TIMESTAMP_CHANGED,)
        return None

    def _order_by_mistakes(self) -> Iterator[tuple[_Content, _Secret]]:
        for number in range(self._max_mistakes + 1):
            for content, secret in product(self._contents, self._secrets):
                if len(content.mistakes) + len(secret.mistakes) == number:
                    yield content, secret

    def _explain_by_time(self, mistakes_by_digest: Mapping[bytes, Mistakes]) -> Mistakes | None:
        own_secrets = [secret for secret in self._secrets if set(secret.mistakes) <= {Mistake.OLD_KEY}]
        for signed, secret in product(self._shift_time(self._max_seconds), own_secrets):
            digest = hmac.digest(secret.key, signed, secret.hash_name)
            if digest in mistakes_by_digest:
                return (*secret.mistakes, Mistake.TIMESTAMP_CHANGED, *mistakes_by_digest[digest])
        return None

    def _shift_time(self, seconds: int) -> Iterator[bytes]:
        for offset in range(1, seconds + 1):
            for timestamp in (self._received.timestamp - offset, self._received.timestamp + offset):
                yield f"{self._received.message_id}.{timestamp}.".encode() + self._body


def _generate_contents(
    received: ReceivedHeaders, body: bytes, sent: Sequence[SentMessage]
) -> Iterator[_Content]:
    ids: list[tuple[Mistakes, str]] = [((), received.message_id)]
    bodies: list[tuple[Mistakes, bytes]] = [((), body)]
    bodies += [((mistake,), variant) for mistake, variant in generate_variants(body)]
    for message in sent:
        if message.message_id != received.message_id:
            ids.append(((Mistake.ID_CHANGED,), message.message_id))
        if message.body != body:
            bodies.append(((_classify_difference(body, message.body),), message.body))
    shapes = [((Mistake.CONTENT,) if number else (), shape) for number, shape in enumerate(_SHAPES)]
    for (wrong_id, message_id), (wrong_body, text), (wrong_shape, shape) in product(ids, bodies, shapes):
        mistakes = wrong_id + wrong_body + wrong_shape
        if len(mistakes) <= MAX_MISTAKES:
            prefix = shape.format(id=message_id, timestamp=received.timestamp)
            yield _Content(mistakes, prefix.encode(), text)


def _classify_difference(body: bytes, sent: bytes) -> Mistake:
    try:
        same = json.loads(body) == json.loads(sent)
    except (ValueError, RecursionError):
        return Mistake.BODY_CHANGED
    return Mistake.BODY_RESERIALISED if same else Mistake.BODY_CHANGED


def _generate_secrets(keys: Keys) -> Iterator[_Secret]:
    owners: list[tuple[Mistakes, bytes]] = [((), keys.current)]
    owners += [((Mistake.OLD_KEY,), key) for key in keys.previous]
    owners += [((Mistake.OTHER_ENDPOINT,), key) for key in keys.others[:MAX_SENT]]
    for owner, key in owners:
        for mistakes, hmac_key in _generate_misuses(key):
            yield _Secret(owner + mistakes, hmac_key, "sha256")
        for other in ("sha512", "sha1"):
            yield _Secret((*owner, Mistake.OTHER_HASH), key, other)


def _generate_misuses(key: bytes) -> Iterator[tuple[Mistakes, bytes]]:
    secret = encode_secret(key)
    yield (), key
    yield (Mistake.SECRET_NOT_DECODED,), secret.removeprefix(_PREFIX).encode()
    yield (Mistake.SECRET_WITH_PREFIX,), secret.encode()
    # Decoders read the underscore as a slash (URL-safe base64) or skip it.
    for text in (secret.translate(_LIKE_BASE64), secret.replace("_", "")):
        bare = text.rstrip("=")
        whole = bare[: len(bare) - (len(bare) % 4 == 1)]
        yield (Mistake.SECRET_DECODED_WITH_PREFIX,), binascii.a2b_base64(whole + "=" * (-len(whole) % 4))
