"""Collect values round by round, and compare variants within each round."""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from tests.bench.benchmark import RATIO, Figure

Variant = TypeVar("Variant")


class Samples:
    """The values of every variant, by measure; figures come in the order in which they were first added."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}
        self._units: dict[str, str] = {}
        self._absent: dict[str, str] = {}

    def add(self, variant: str, measure: str, value: float, unit: str) -> None:
        """Add the value of one round."""
        self._units[measure] = unit
        self._values.setdefault((variant, measure), []).append(value)

    def add_absent(self, variant: str, reason: str) -> None:
        """Record that a variant cannot be measured here."""
        self._absent[variant] = reason

    def add_ratios(
        self, measure: str, *, base: str, name: str = "", among: Collection[str] | None = None
    ) -> None:
        """Add a measure for all variants, or `among` some: their value over that of `base` in the same round."""
        bases = self._values.get((base, measure), [])
        for (variant, other), values in list(self._values.items()):
            if other == measure and bases and (among is None or variant in among):
                for value, below in zip(values, bases, strict=True):
                    self.add(variant, name or f"{measure}, ratio", value / below, RATIO)

    def to_figures(self) -> list[Figure]:
        """Return all figures, those of one variant together."""
        variants = dict.fromkeys(variant for variant, _ in self._values)
        measured = [
            Figure(variant, measure, self._units[measure], tuple(values))
            for variant in variants
            for (other, measure), values in self._values.items()
            if other == variant
        ]
        return measured + [Figure.of_absent(variant, reason) for variant, reason in self._absent.items()]


def alternate(variants: Sequence[Variant], rounds: int) -> Iterator[Variant]:
    """Yield A B C, C B A, A B C, …, so that neither a place in the order nor other load favors a variant."""
    for number in range(rounds):
        yield from reversed(variants) if number % 2 else variants


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
