"""Says of a received message what is wrong with it, or with what its receiver computed; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callbacks.signing import SIGNATURE_HEADER, TOLERANCE_SECONDS
from service.webhooks.verifier.mistakes import SENTENCES, Mistake
from service.webhooks.verifier.received import Received, Unreadable, digests, read
from service.webhooks.verifier.search import Keys, Mistakes, Search, SentMessage

_UNEXPLAINED = "No usual mistake leads to it: most likely another secret, or a body that was changed."


@dataclass(frozen=True)
class Diagnosis:
    """`valid` is of the message as received, by the keys in force and the clock; `problem` may be of `expected` too.

    `problems` are all that were found, of which `problem` is the first. No signature and no secret is ever told.
    """

    valid: bool
    problem: Mistake | None
    detail: str
    problems: Mistakes = ()
    header: str | None = None
    clock_off_seconds: int | None = None


def diagnose(
    headers: Mapping[str, str],
    body: bytes,
    keys: Keys,
    *,
    now: float,
    expected: str | None = None,
    sent: Sequence[SentMessage] = (),
) -> Diagnosis:
    """What a receiver with `keys` should make of a message, and why one may make something else of it.

    `now` is the time of receipt on the receiver's clock, if it is known. `expected` is the signature that the
    receiver computed. `sent` are messages that the endpoint was sent: the one with this webhook-id, or the latest
    ones.
    """
    try:
        received = read(headers)
    except Unreadable as unread:
        return Diagnosis(False, unread.mistake, unread.detail, (unread.mistake,), header=unread.header)
    off = round(now) - received.timestamp
    if not _usable(received, keys):
        return _unusable(received, off)
    search = Search(received, body, keys, sent)
    found = _least(search.symmetric(received.symmetric), search.asymmetric(received.asymmetric))
    if found == ():
        return _accepted(search, expected, off)
    if found is None:
        return _rejected(search, expected, off)
    return Diagnosis(
        False, found[0], _sentences("The message is not valid.", found), found, clock_off_seconds=off
    )


def _usable(received: Received, keys: Keys) -> bool:
    return bool(received.symmetric) or bool(received.asymmetric and keys.public)


def _unusable(received: Received, off: int) -> Diagnosis:
    if "v1" in received.versions:
        mistake = Mistake.HEADER_MALFORMED
        detail = f"The header {SIGNATURE_HEADER} holds a v1 signature that is not the base64 of 32 bytes."
    else:
        mistake = Mistake.OTHER_VERSION
        versions = ", ".join(received.versions)
        detail = f"The signatures are of version {versions} only, and the endpoint has no key for that."
    return Diagnosis(False, mistake, detail, (mistake,), header=SIGNATURE_HEADER, clock_off_seconds=off)


def _accepted(search: Search, expected: str | None, off: int) -> Diagnosis:
    """The signature is right: what is left is the clock, and what the receiver computed."""
    late = abs(off) > TOLERANCE_SECONDS
    found: Mistakes = (Mistake.CLOCK_OFF,) if late else ()
    detail = _clock(off) if late else "The message is valid."
    computed = search.symmetric(digests(expected)) if expected is not None else ()
    if computed is None:
        found = (Mistake.UNEXPLAINED, *found)
        detail = f"{detail} What you computed is another signature. {_UNEXPLAINED}"
    elif computed:
        found = computed + found
        detail = _sentences(f"{detail} What you computed is another signature.", computed)
    return Diagnosis(not late, found[0] if found else None, detail, found, clock_off_seconds=off)


def _clock(off: int) -> str:
    way = "behind" if off > 0 else "ahead of"
    return (
        f"The signature is right, but the timestamp is {abs(off)} s {way} the clock, and more than "
        f"{TOLERANCE_SECONDS} s is refused: set the clock, or verify a message when it comes."
    )


def _rejected(search: Search, expected: str | None, off: int) -> Diagnosis:
    """Nothing explains the signature in the header."""
    found: Mistakes = (Mistake.WRONG_SECRET,)
    detail = (
        f"The signature is not of this endpoint's secret, this id, this time and this body. {_UNEXPLAINED}"
    )
    computed = search.symmetric(digests(expected)) if expected is not None else None
    if computed == ():
        detail = "What you computed is right for this id, this time and this body; the signature in the header is not."
    elif computed:
        found += computed
        detail = _sentences(f"{detail} What you computed has faults of its own.", computed)
    return Diagnosis(False, found[0], detail, found, clock_off_seconds=off)


def _least(*explanations: Mistakes | None) -> Mistakes | None:
    return min((found for found in explanations if found is not None), key=len, default=None)


def _sentences(first: str, mistakes: Mistakes) -> str:
    return " ".join([first, *(SENTENCES[mistake] for mistake in dict.fromkeys(mistakes))])
