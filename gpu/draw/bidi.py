"""Text in both directions: a line cut into stretches of one direction each, put in the order in which they are seen.

The parts of the Unicode bidirectional algorithm that a line of plain text needs; explicit embeddings are left aside.
"""

import unicodedata
from collections.abc import Callable, Hashable, Sequence
from itertools import groupby
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Run = tuple[str, int, Key]

_STRONG = {"L": "L", "R": "R", "AL": "R"}
_BETWEEN_DIGITS = {"CS", "ES"}
_LEFT_TO_RIGHT, _RIGHT_TO_LEFT = 0, 1


def levels(text: str) -> list[int]:
    """How deeply each character is embedded: even runs from left to right, odd from right to left."""
    directions = _directions(text)
    base = next(
        (_RIGHT_TO_LEFT if found == "R" else _LEFT_TO_RIGHT for found in directions if found in "LR"), 0
    )
    level = {"L": 2 * base, "R": 1, "N": 2}
    return [level[found] for found in _settled(directions, "R" if base else "L")]


def _directions(text: str) -> list[str]:
    """Each character's own direction: L, R, N for a number within what runs to the left, or `-` for none."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    first = next((_STRONG[kind] for kind in kinds if kind in _STRONG), "L")
    found: list[str] = []
    strong = first
    for at, kind in enumerate(kinds):
        strong = _STRONG.get(kind, strong)
        number = "N" if strong == "R" else "L"
        if kind in _STRONG:
            found.append(strong)
        elif kind == "NSM" and found:
            found.append(found[-1])
        elif kind in {"EN", "AN"} or (kind in _BETWEEN_DIGITS and _within_digits(kinds, at)):
            found.append("N" if kind == "AN" else number)
        else:
            found.append("-")
    return found


def _within_digits(kinds: Sequence[str], at: int) -> bool:
    return 0 < at < len(kinds) - 1 and kinds[at - 1] in {"EN", "AN"} and kinds[at + 1] in {"EN", "AN"}


def _settled(directions: Sequence[str], base: str) -> list[str]:
    """Spaces and signs go with their neighbours where these agree, else with the line."""
    settled: list[str] = []
    for direction, group in groupby(enumerate(directions), key=lambda pair: pair[1]):
        places = [place for place, _ in group]
        if direction != "-":
            settled += [direction] * len(places)
            continue
        before = _side(directions[places[0] - 1]) if places[0] else base
        after = _side(directions[places[-1] + 1]) if places[-1] + 1 < len(directions) else base
        settled += [before if before == after else base] * len(places)
    return settled


def _side(direction: str) -> str:
    return "L" if direction == "L" else "R"


def reorder_visual(text: str, key: Callable[[int], Key]) -> list[tuple[str, bool, Key]]:
    """Stretches of one level and one `key` (asked of each index), from left to right: text, to the left, key.

    The text of each stretch stays in the order in which it is read.
    """
    deep = levels(text)
    runs = [
        ("".join(text[at] for at in places), level, found)
        for (level, found), group in groupby(range(len(text)), key=lambda at: (deep[at], key(at)))
        for places in [list(group)]
    ]
    for depth in range(max(deep, default=0), 0, -1):
        runs = _turned(runs, depth)
    return [(stretch, level % 2 == 1, found) for stretch, level, found in runs]


def _turned(runs: list[Run[Key]], depth: int) -> list[Run[Key]]:
    """The runs with every stretch that is embedded this deeply put the other way round."""
    turned: list[Run[Key]] = []
    for embedded, group in groupby(runs, key=lambda run: run[1] >= depth):
        stretch = list(group)
        turned += stretch[::-1] if embedded else stretch
    return turned
