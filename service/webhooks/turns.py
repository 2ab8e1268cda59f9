"""Whose turn it is: endpoints one after the other, those that answer before those that do not; pure."""

from collections.abc import Mapping, Sequence

from service.webhooks.deliveries import Waiting


def chosen(
    waiting: Sequence[Waiting], under_way: Mapping[str, int], *, places: int, per_endpoint: int
) -> list[str]:
    """The deliveries to send next: at most `places`, and `per_endpoint` at a time for one that answers.

    One that fails has one at a time, and all of those together at most half of the places that are free: whatever they
    do with them, the others find room.
    """
    room = {
        one.endpoint_id: (1 if one.failing else per_endpoint) - under_way.get(one.endpoint_id, 0)
        for one in waiting
    }
    healthy = [one for one in waiting if not one.failing]
    failing = [one for one in waiting if one.failing]
    first = _in_turns([one.due[: max(0, room[one.endpoint_id])] for one in healthy])[:places]
    then = _in_turns([one.due[: max(0, room[one.endpoint_id])] for one in failing])
    return first + then[: min(places // 2, places - len(first))]


def _in_turns(lists: Sequence[Sequence[str]]) -> list[str]:
    longest = max((len(one) for one in lists), default=0)
    return [one[turn] for turn in range(longest) for one in lists if turn < len(one)]
