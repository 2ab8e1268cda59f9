"""Explain what is wrong with a message or with what its receiver computed; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from callbacks.signing import SIGNATURE_HEADER, TOLERANCE_SECONDS
from service.webhooks.verifier.mistakes import SENTENCES, Mistake
from service.webhooks.verifier.received import ReceivedHeaders, UnreadableHeader, parse_digests, parse_headers
from service.webhooks.verifier.search import Keys, Mistakes, Search, SentMessage

_UNEXPLAINED = "No common mistake explains it; most likely the secret is different or the body was changed."


@dataclass(frozen=True)
class Diagnosis:
    """Result of a diagnosis.

    `valid` is about the received message, checked with the current keys and clock. `problem` is the first of
    `problems`, which may also be about `expected`. No signature and no secret is ever shown.
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
    """Tell whether a message is valid, and explain why it or `expected` is not.

    `now` is the time of receipt on the receiver's clock. `expected` is the signature that the receiver computed. `sent`
    holds messages that were sent to the endpoint: the one with this webhook-id, or the latest ones.
    """
    try:
        received = parse_headers(headers)
    except UnreadableHeader as error:
        return Diagnosis(False, error.mistake, error.detail, (error.mistake,), header=error.header)
    clock_off = round(now) - received.timestamp
    if not _can_verify(received, keys):
        return _explain_unusable(received, clock_off)
    search = Search(received, body, keys, sent)
    mistakes = _select_shorter(search.explain_hmac(received.hmac), search.explain_ed25519(received.ed25519))
    if mistakes == ():
        return _explain_valid(search, expected, clock_off)
    if mistakes is None:
        return _explain_invalid(search, expected, clock_off)
    return Diagnosis(
        False,
        mistakes[0],
        _append_sentences("The message is not valid.", mistakes),
        mistakes,
        clock_off_seconds=clock_off,
    )


def _can_verify(received: ReceivedHeaders, keys: Keys) -> bool:
    return bool(received.hmac) or bool(received.ed25519 and keys.public)


def _explain_unusable(received: ReceivedHeaders, clock_off: int) -> Diagnosis:
    if "v1" in received.versions:
        mistake = Mistake.HEADER_MALFORMED
        detail = f"The v1 signature in the header {SIGNATURE_HEADER} is not the base64 of 32 bytes."
    else:
        mistake = Mistake.OTHER_VERSION
        versions = ", ".join(received.versions)
        detail = f"The message has signatures of version {versions} only, for which the endpoint has no key."
    return Diagnosis(False, mistake, detail, (mistake,), header=SIGNATURE_HEADER, clock_off_seconds=clock_off)


def _explain_valid(search: Search, expected: str | None, clock_off: int) -> Diagnosis:
    """Check the clock and what the receiver computed; the signature is right."""
    is_clock_off = abs(clock_off) > TOLERANCE_SECONDS
    mistakes: Mistakes = (Mistake.CLOCK_OFF,) if is_clock_off else ()
    detail = _describe_clock(clock_off) if is_clock_off else "The message is valid."
    computed = search.explain_hmac(parse_digests(expected)) if expected is not None else ()
    if computed is None:
        mistakes = (Mistake.UNEXPLAINED, *mistakes)
        detail = f"{detail} The signature that you computed is different. {_UNEXPLAINED}"
    elif computed:
        mistakes = computed + mistakes
        detail = _append_sentences(f"{detail} The signature that you computed is different.", computed)
    return Diagnosis(
        not is_clock_off, mistakes[0] if mistakes else None, detail, mistakes, clock_off_seconds=clock_off
    )


def _describe_clock(clock_off: int) -> str:
    direction = "behind" if clock_off > 0 else "ahead of"
    return (
        f"The signature is correct, but the timestamp is {abs(clock_off)} s {direction} the clock, and at most "
        f"{TOLERANCE_SECONDS} s are allowed. Correct the clock, or verify messages when they arrive."
    )


def _explain_invalid(search: Search, expected: str | None, clock_off: int) -> Diagnosis:
    """Explain what the receiver computed; nothing explains the signature in the header."""
    mistakes: Mistakes = (Mistake.WRONG_SECRET,)
    detail = f"The signature does not match this endpoint's secret and the message. {_UNEXPLAINED}"
    computed = search.explain_hmac(parse_digests(expected)) if expected is not None else None
    if computed == ():
        detail = "The signature that you computed matches the message; the one in the header does not."
    elif computed:
        mistakes += computed
        detail = _append_sentences(
            f"{detail} The signature that you computed has mistakes as well.", computed
        )
    return Diagnosis(False, mistakes[0], detail, mistakes, clock_off_seconds=clock_off)


def _select_shorter(*explanations: Mistakes | None) -> Mistakes | None:
    return min((mistakes for mistakes in explanations if mistakes is not None), key=len, default=None)


def _append_sentences(first: str, mistakes: Mistakes) -> str:
    return " ".join([first, *(SENTENCES[mistake] for mistake in dict.fromkeys(mistakes))])
