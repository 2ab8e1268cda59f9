"""Looks for the fewest mistakes that lead to a signature; pure.

A signature can't be read backwards, so what is likely to go wrong is tried: a few thousand HMACs at most, and fewer
if the body is long.
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
from service.webhooks import ed25519 as asymmetric
from service.webhooks.verifier.bodies import variants
from service.webhooks.verifier.mistakes import Mistake
from service.webhooks.verifier.received import Digest, Received

Mistakes = tuple[Mistake, ...]
MOST_MISTAKES: Final = 2
LARGE_BODY_BYTES: Final = 16_384
MOST_SENT: Final = 20  # messages, and other endpoints
_NEAR_SECONDS: Final = 30
_PREFIX: Final = "whsec_"
_LIKE_BASE64: Final = str.maketrans("-_", "+/")
_SHAPES: Final = ("{id}.{timestamp}.", "", "{timestamp}.", "{id}.", "{id}{timestamp}", "{timestamp}.{id}.")


@dataclass(frozen=True)
class Keys:
    """An endpoint's keys: the one in force, those before it, and the public one if it has one; other endpoints'
    too."""

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
    """What may have been signed, in two parts: a body is shared by many of these."""

    mistakes: Mistakes
    before: bytes
    body: bytes

    @property
    def signed(self) -> bytes:
        return self.before + self.body


@dataclass(frozen=True)
class _Secret:
    mistakes: Mistakes
    key: bytes
    hash_name: str


class Search:
    """What one message may have been when it was signed, and by which key."""

    def __init__(self, received: Received, body: bytes, keys: Keys, sent: Sequence[SentMessage]) -> None:
        self._received = received
        self._body = body
        self._keys = keys
        small = len(body) <= LARGE_BODY_BYTES
        self._most_mistakes = MOST_MISTAKES if small else 1
        self._most_seconds = TOLERANCE_SECONDS if small else _NEAR_SECONDS
        self._contents = tuple(_contents(received, body, sent[:MOST_SENT]))
        self._secrets = tuple(_secrets(keys))

    def symmetric(self, targets: Sequence[Digest]) -> Mistakes | None:
        """The mistakes that lead to one of `targets`, none if it is right; None if nothing does."""
        wanted = {target.raw: target.mistakes for target in targets}
        if not wanted:
            return None
        for content, secret in self._by_number_of_mistakes():
            digest = hmac.digest(secret.key, content.signed, secret.hash_name)
            if digest in wanted:
                return secret.mistakes + content.mistakes + wanted[digest]
        return self._with_another_time(wanted)

    def asymmetric(self, signatures: Sequence[str]) -> Mistakes | None:
        """The same for signatures of the public key, with one mistake at most: these take far longer."""
        key = self._keys.public
        if key is None:
            return None
        for signature in signatures[:2]:
            for content in self._contents:
                if len(content.mistakes) < MOST_MISTAKES and asymmetric.verify(
                    key, signature, content.signed
                ):
                    return content.mistakes
            if any(asymmetric.verify(key, signature, signed) for signed in self._other_times(_NEAR_SECONDS)):
                return (Mistake.TIMESTAMP_CHANGED,)
        return None

    def _by_number_of_mistakes(self) -> Iterator[tuple[_Content, _Secret]]:
        for number in range(self._most_mistakes + 1):
            for content, secret in product(self._contents, self._secrets):
                if len(content.mistakes) + len(secret.mistakes) == number:
                    yield content, secret

    def _with_another_time(self, wanted: Mapping[bytes, Mistakes]) -> Mistakes | None:
        owned = [secret for secret in self._secrets if set(secret.mistakes) <= {Mistake.OLD_KEY}]
        for signed, secret in product(self._other_times(self._most_seconds), owned):
            digest = hmac.digest(secret.key, signed, secret.hash_name)
            if digest in wanted:
                return (*secret.mistakes, Mistake.TIMESTAMP_CHANGED, *wanted[digest])
        return None

    def _other_times(self, seconds: int) -> Iterator[bytes]:
        for offset in range(1, seconds + 1):
            for timestamp in (self._received.timestamp - offset, self._received.timestamp + offset):
                yield f"{self._received.message_id}.{timestamp}.".encode() + self._body


def _contents(received: Received, body: bytes, sent: Sequence[SentMessage]) -> Iterator[_Content]:
    ids: list[tuple[Mistakes, str]] = [((), received.message_id)]
    bodies: list[tuple[Mistakes, bytes]] = [((), body)]
    bodies += [((mistake,), variant) for mistake, variant in variants(body)]
    for message in sent:
        if message.message_id != received.message_id:
            ids.append(((Mistake.ID_CHANGED,), message.message_id))
        if message.body != body:
            bodies.append(((_difference(body, message.body),), message.body))
    shapes = [((Mistake.CONTENT,) if number else (), shape) for number, shape in enumerate(_SHAPES)]
    for (wrong_id, message_id), (wrong_body, text), (wrong_shape, shape) in product(ids, bodies, shapes):
        mistakes = wrong_id + wrong_body + wrong_shape
        if len(mistakes) <= MOST_MISTAKES:
            before = shape.format(id=message_id, timestamp=received.timestamp)
            yield _Content(mistakes, before.encode(), text)


def _difference(body: bytes, sent: bytes) -> Mistake:
    try:
        same = json.loads(body) == json.loads(sent)
    except (ValueError, RecursionError):
        return Mistake.BODY_CHANGED
    return Mistake.BODY_RESERIALISED if same else Mistake.BODY_CHANGED


def _secrets(keys: Keys) -> Iterator[_Secret]:
    owners: list[tuple[Mistakes, bytes]] = [((), keys.current)]
    owners += [((Mistake.OLD_KEY,), key) for key in keys.previous]
    owners += [((Mistake.OTHER_ENDPOINT,), key) for key in keys.others[:MOST_SENT]]
    for owner, key in owners:
        for mistakes, used in _uses(key):
            yield _Secret(owner + mistakes, used, "sha256")
        for other in ("sha512", "sha1"):
            yield _Secret((*owner, Mistake.OTHER_HASH), key, other)


def _uses(key: bytes) -> Iterator[tuple[Mistakes, bytes]]:
    secret = encode_secret(key)
    yield (), key
    yield (Mistake.SECRET_NOT_DECODED,), secret.removeprefix(_PREFIX).encode()
    yield (Mistake.SECRET_WITH_PREFIX,), secret.encode()
    # Decoders differ in what they make of the underscore: a slash, as in URLs, or nothing.
    for text in (secret.translate(_LIKE_BASE64), secret.replace("_", "")):
        bare = text.rstrip("=")
        whole = bare[: len(bare) - (len(bare) % 4 == 1)]
        yield (Mistake.SECRET_DECODED_WITH_PREFIX,), binascii.a2b_base64(whole + "=" * (-len(whole) % 4))
