"""Whose turn it is: endpoints one after the other, those that answer at once before those that may not; pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An endpoint with something due: whether it is known to answer at once, and what is under way for it."""

    endpoint_id: str
    due: tuple[str, ...]
    brisk: bool = True
    under_way: int = 0
    last_turn: int = 0


@dataclass(frozen=True)
class Places:
    """How many attempts may be under way, and how many are; `doubtful` are those for endpoints that are not brisk."""

    total: int
    per_endpoint: int
    brisk: int = 0
    doubtful: int = 0

    @property
    def free(self) -> int:
        return self.total - self.brisk - self.doubtful

    @property
    def for_brisk(self) -> int:
        """A quarter is not theirs: who is new must find a place beside whoever is always busy."""
        return min(self.free, self.total - self.total // 4 - self.brisk)

    @property
    def for_doubtful(self) -> int:
        """Half at most of all there are: however many endpoints hang, the others find room."""
        return min(self.free, max(1, self.total // 2) - self.doubtful)


def chosen(candidates: Sequence[Candidate], places: Places) -> list[str]:
    """The deliveries to send next.

    A brisk endpoint has `per_endpoint` at a time, any other one; whoever's turn was longest ago comes first.
    """
    waiting = sorted(candidates, key=lambda one: one.last_turn)
    brisk = [one.due[: max(0, places.per_endpoint - one.under_way)] for one in waiting if one.brisk]
    doubtful = [one.due[: max(0, 1 - one.under_way)] for one in waiting if not one.brisk]
    first = _in_turns(brisk)[: max(0, places.for_brisk)]
    then = _in_turns(doubtful)[: max(0, min(places.for_doubtful, places.free - len(first)))]
    return first + then


def _in_turns(lists: Sequence[Sequence[str]]) -> list[str]:
    longest = max((len(one) for one in lists), default=0)
    return [one[turn] for turn in range(longest) for one in lists if turn < len(one)]
