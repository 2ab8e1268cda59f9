"""Which round of the worker is due next; pure, with the times of a monotonic clock.

A prompt round serves the endpoints that respond, and delays others only if they have waited for longer than it. What
belongs to new endpoints, and to suspects, whose latest attempt failed or was slow, waits while a round of its kind was
made lately. So the number of rounds that a prompt one may have to wait for does not grow with these endpoints.
"""

from enum import Enum
from typing import Final

NEW_PAUSE_SECONDS: Final = 0.05
"""Between two rounds for new endpoints."""
SUSPECT_PAUSE_SECONDS: Final = 0.2
"""Between two rounds for suspects; as long may prompt rounds hold up others."""
MAX_PAUSE_SECONDS: Final = 0.02
"""How long at most a prompt round leaves the database to others, and the result of a success waits for more of them."""
BURST_SECONDS: Final = 0.05
"""Prompt rounds pause as long as they take; so much of the pauses they may put off."""
_NEVER: Final = float("inf")


class Round(Enum):
    """The kinds of rounds."""

    PROMPT = "record successes, and claim for endpoints that respond"
    NEW = "claim for endpoints without a history"
    RESULTS = "record failures"
    SUSPECTS = "claim for suspects"


class Agenda:
    """When a round of each kind is due: not before it was requested, nor before the pause after the last one."""

    def __init__(self) -> None:
        self._requested = dict.fromkeys(Round, _NEVER)
        self._not_before = dict.fromkeys(Round, -_NEVER)
        self._used_until = -_NEVER
        self._gather_seconds = 0.0

    def request(self, kind: Round, at: float) -> None:
        """Ask for a round of this kind at a time; an earlier request stays."""
        self._requested[kind] = min(self._requested[kind], at)

    def request_gathered(self, now: float) -> None:
        """Ask for a prompt round that records a success, together with others that come in a moment."""
        self.request(Round.PROMPT, now + self._gather_seconds)

    def take_due(self, now: float) -> Round | None:
        """Return what is due and take its request out; prompt rounds come before what has waited little longer."""
        due = [kind for kind in Round if self._due_at(kind) <= now]
        if not due:
            return None
        kind = min(due, key=self._deadline)
        self._requested[kind] = _NEVER
        return kind

    def record_round(self, kind: Round, start: float, end: float) -> None:
        """Note a round that was made, and so begin the pause after it."""
        if kind is Round.PROMPT:
            used_until = max(self._used_until, start) + 2 * (end - start)
            self._used_until = min(used_until, end + BURST_SECONDS + MAX_PAUSE_SECONDS)
            self._not_before[kind] = self._used_until - BURST_SECONDS
            self._gather_seconds = min(end - start, MAX_PAUSE_SECONDS)
        else:
            self._not_before[kind] = end + (NEW_PAUSE_SECONDS if kind is Round.NEW else SUSPECT_PAUSE_SECONDS)

    def seconds_left(self, now: float) -> float:
        """Return how long it is until a round is due."""
        return max(0.0, min(map(self._due_at, Round)) - now)

    def _due_at(self, kind: Round) -> float:
        return max(self._requested[kind], self._not_before[kind])

    def _deadline(self, kind: Round) -> float:
        return self._due_at(kind) - (SUSPECT_PAUSE_SECONDS if kind is Round.PROMPT else 0.0)
