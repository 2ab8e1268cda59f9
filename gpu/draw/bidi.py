"""Split a line of text into runs of one direction, in visual order.

Implements the parts of the Unicode bidirectional algorithm that plain text needs, without explicit embeddings.
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


def embedding_levels(text: str) -> list[int]:
    """Return the embedding level of each character: even is left to right, odd right to left."""
    directions = _directions(text)
    base = next((_RIGHT_TO_LEFT if char == "R" else _LEFT_TO_RIGHT for char in directions if char in "LR"), 0)
    level = {"L": 2 * base, "R": 1, "N": 2}
    return [level[direction] for direction in _resolve_neutrals(directions, "R" if base else "L")]


def _directions(text: str) -> list[str]:
    """Return each character's own direction: L, R, N for a number in right-to-left text, `-` for none."""
    kinds = [unicodedata.bidirectional(char) for char in text]
    first = next((_STRONG[kind] for kind in kinds if kind in _STRONG), "L")
    directions: list[str] = []
    strong = first
    for at, kind in enumerate(kinds):
        strong = _STRONG.get(kind, strong)
        number = "N" if strong == "R" else "L"
        if kind in _STRONG:
            directions.append(strong)
        elif kind == "NSM" and directions:
            directions.append(directions[-1])
        elif kind in {"EN", "AN"} or (kind in _BETWEEN_DIGITS and _within_digits(kinds, at)):
            directions.append("N" if kind == "AN" else number)
        else:
            directions.append("-")
    return directions


def _within_digits(kinds: Sequence[str], at: int) -> bool:
    return 0 < at < len(kinds) - 1 and kinds[at - 1] in {"EN", "AN"} and kinds[at + 1] in {"EN", "AN"}


def _resolve_neutrals(directions: Sequence[str], base: str) -> list[str]:
    """Give spaces and symbols the direction of both neighbours, or of the line where those differ."""
    resolved: list[str] = []
    for direction, group in groupby(enumerate(directions), key=lambda pair: pair[1]):
        indexes = [index for index, _ in group]
        if direction != "-":
            resolved += [direction] * len(indexes)
            continue
        before = _side(directions[indexes[0] - 1]) if indexes[0] else base
        after = _side(directions[indexes[-1] + 1]) if indexes[-1] + 1 < len(directions) else base
        resolved += [before if before == after else base] * len(indexes)
    return resolved


def _side(direction: str) -> str:
    return "L" if direction == "L" else "R"


def reorder_visual(text: str, key: Callable[[int], Key]) -> list[tuple[str, bool, Key]]:
    """Return the runs of one level and one `key(index)` from left to right: text, is right to left, key.

    The text of each run stays in reading order.
    """
    levels = embedding_levels(text)
    runs = [
        ("".join(text[index] for index in indexes), level, run_key)
        for (level, run_key), group in groupby(range(len(text)), key=lambda at: (levels[at], key(at)))
        for indexes in [list(group)]
    ]
    for level in range(max(levels, default=0), 0, -1):
        runs = _reverse_level(runs, level)
    return [(run, level % 2 == 1, run_key) for run, level, run_key in runs]


def _reverse_level(runs: list[Run[Key]], level: int) -> list[Run[Key]]:
    """Reverse every sequence of runs at this level or a deeper one."""
    reordered: list[Run[Key]] = []
    for embedded, group in groupby(runs, key=lambda run: run[1] >= level):
        adjacent = list(group)
        reordered += adjacent[::-1] if embedded else adjacent
    return reordered
