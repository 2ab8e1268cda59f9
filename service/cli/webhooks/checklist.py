"""Judge what a receiver answered to test events."""

from dataclasses import dataclass
from typing import Final

import msgspec

from framehook import Delivery
from framehook.names import EventName, FaultName
from service.cli.webhooks.forwarding import Outcome

_INVALID: Final = {
    FaultName.TRUNCATE: "a body without its end",
    FaultName.BAD_SIGNATURE: "a bad signature",
}
_VALID: Final = {
    None: "the event",
    FaultName.DUPLICATE: "the event twice",
    FaultName.LATE: "an event of the day before",
    FaultName.REORDER: "an event after the one that follows it",
    FaultName.SLOW: "a body that came slowly",
    FaultName.OLD_SECRET: "a header with two signatures, of which the second is yours",
}
_MARKS: Final = {True: "✓", False: "✗", None: "?"}
_TO_CHECK: Final = {
    FaultName.DUPLICATE: (
        "duplicate",
        "see that it acted once: both had the same webhook-id. A response with the word `duplicate` would say so",
    ),
    FaultName.REORDER: (
        "older",
        "see that it kept the newer state: the `sequence` was smaller. A response with the word `older` would say so",
    ),
}
"""What no status tells: the word by which a receiver may say it, and what to look at without."""


@dataclass(frozen=True)
class Check:
    """A test event, and what its receiver made of it; `passed` is None if only its owner can tell."""

    event: EventName
    fault: FaultName | None
    outcome: Outcome
    passed: bool | None
    detail: str

    @property
    def line(self) -> str:
        return f"{_MARKS[self.passed]} {self.detail}"

    def to_json(self) -> str:
        """Return the check as a line of JSON."""
        return msgspec.json.encode(self).decode()


def judge(event: EventName, fault: FaultName | None, outcome: Outcome) -> Check:
    """Judge an outcome: a valid message needs a 2xx in time, an invalid one a 4xx."""
    passed, detail = _judge_invalid(fault, outcome) if fault in _INVALID else _judge_valid(fault, outcome)
    return Check(event, fault, outcome, passed, detail)


def outcome_of(delivery: Delivery) -> Outcome:
    """Return what came back for the last attempt of a delivery."""
    last = delivery.attempts[-1] if delivery.attempts else None
    if last is None or last.seconds is None:
        return Outcome(0.0, error={"code": "timeout", "message": "No response is in the log yet."})
    error = None if last.error is None or last.status else msgspec.to_builtins(last.error)
    return Outcome(last.seconds, last.status, error, last.excerpt)


def _judge_valid(fault: FaultName | None, outcome: Outcome) -> tuple[bool | None, str]:
    name = _VALID[fault]
    if outcome.is_rejected:
        return (
            False,
            f"{name}: {outcome.summary}, although it is valid; compare the secret, and verify the raw body",
        )
    if not outcome.is_delivered:
        return False, f"{name}: {outcome.summary}; answer 2xx within the time-out, and work afterwards"
    if fault in _TO_CHECK:
        word, hint = _TO_CHECK[fault]
        if word in (outcome.excerpt or "").lower():
            return True, f"{name}: {outcome.summary}, and it was ignored as {word}"
        return None, f"{name}: {outcome.summary}; {hint}"
    return True, f"{name}: {outcome.summary}"


def _judge_invalid(fault: FaultName | None, outcome: Outcome) -> tuple[bool, str]:
    assert fault is not None
    name = _INVALID[fault]
    if outcome.is_rejected:
        return True, f"{name} was refused: {outcome.summary}"
    if outcome.is_delivered:
        return False, f"{name} was accepted: {outcome.summary}; verify the signature over the raw body"
    return False, f"{name}: {outcome.summary}; refuse it with 401, as an error of a server is sent again"
