"""Whose turn it is: endpoints one after the other, those that answer at once before those that may not; pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EndpointBacklog:
    """An endpoint with something due: whether it is known to answer at once, and what is under way for it.

    `limit` is how many at a time it may be sent where it does not answer at once.
    """

    endpoint_id: str
    due: tuple[str, ...]
    brisk: bool = True
    under_way: int = 0
    last_turn: int = 0
    limit: int = 1


@dataclass(frozen=True)
class Capacity:
    """How many attempts may be under way, and how many are; `doubtful` are those for endpoints that are not brisk.

    `extra` are those of the doubtful that are not the only one of their endpoint.
    """

    total: int
    per_endpoint: int
    brisk: int = 0
    doubtful: int = 0
    extra: int = 0

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

    @property
    def for_extra(self) -> int:
        """A quarter at most, and an eighth stays free: slow endpoints grow only into what nobody else needs."""
        return min(self.total // 4 - self.extra, self.free - max(1, self.total // 8))


def chosen(candidates: Sequence[EndpointBacklog], places: Capacity) -> list[str]:
    """The deliveries to send next.

    A brisk endpoint has `per_endpoint` at a time, any other one, and up to its limit where places are to spare;
    whoever's turn was longest ago comes first.
    """
    waiting = sorted(candidates, key=lambda one: one.last_turn)
    brisk = [one.due[: max(0, places.per_endpoint - one.under_way)] for one in waiting if one.brisk]
    doubtful = [one.due[: max(0, 1 - one.under_way)] for one in waiting if not one.brisk]
    first = _in_turns(brisk)[: max(0, places.for_brisk)]
    then = _in_turns(doubtful)[: max(0, min(places.for_doubtful, places.free - len(first)))]
    selected = first + then
    left = min(places.for_doubtful - len(then), places.for_extra - len(selected))
    extra = _in_turns([_beyond_first(one, places.per_endpoint) for one in waiting if not one.brisk])
    return selected + extra[: max(0, left)]


def _beyond_first(candidate: EndpointBacklog, per_endpoint: int) -> Sequence[str]:
    """Return what an endpoint that is not brisk may be sent beside its first one."""
    first = max(0, 1 - candidate.under_way)
    limit = min(candidate.limit, per_endpoint)
    return candidate.due[first : max(first, limit - candidate.under_way)]


def _in_turns(lists: Sequence[Sequence[str]]) -> list[str]:
    longest = max((len(one) for one in lists), default=0)
    return [one[turn] for turn in range(longest) for one in lists if turn < len(one)]
