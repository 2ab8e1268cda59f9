"""What a benchmark is: a description, its sizes, and a function that returns figures."""

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import msgspec

RATIO = "ratio"
UNITS = frozenset({"1/s", "Mbit/s", "µs", "ms", "s", "KiB", "MiB", "MB", "count", "dB", "%", RATIO})


class Figure(msgspec.Struct, frozen=True):
    """A measured value: a cell of the table, with the variant as its row and the measure as its column.

    `rounds` are the values in the order of the rounds. A variant that could not be measured has a single figure
    without values, which says why.
    """

    variant: str
    measure: str
    unit: str
    rounds: tuple[float, ...]
    absent_because: str = ""

    def __post_init__(self) -> None:
        is_measured = bool(self.measure and self.rounds) and self.unit in UNITS
        if not self.variant or is_measured == bool(self.absent_because):
            raise ValueError(f"{self} needs a variant, and values with a unit or a reason for their absence")
        if not all(map(math.isfinite, self.rounds)):
            raise ValueError(f"{self} has a value that is no number")

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @classmethod
    def of_absent(cls, variant: str, reason: str) -> Self:
        """Return the figure of a variant that is not installed here."""
        return cls(variant, "", "", (), reason)


class Size(NamedTuple):
    """How much work a benchmark does by default, and in a smoke test, which claims nothing about time."""

    default: int
    smoke: int


@dataclass(frozen=True)
class Options:
    """How often everything is measured, and how much work each round is."""

    rounds: int
    sizes: Mapping[str, int]
    is_smoke: bool = False


@dataclass(frozen=True)
class Benchmark:
    """A benchmark; its name is in the registry. `description` says in a sentence what is measured, and beside what."""

    description: str
    run: Callable[[Options], list[Figure]]
    rounds: int = 5
    sizes: Mapping[str, Size] = field(default_factory=dict)

    def choose_options(
        self, *, rounds: int | None = None, sizes: Mapping[str, int] | None = None, is_smoke: bool = False
    ) -> Options:
        """Return the default options, or those of a smoke test, with changes."""
        usual = {name: size.smoke if is_smoke else size.default for name, size in self.sizes.items()}
        return Options(rounds or (1 if is_smoke else self.rounds), usual | dict(sizes or {}), is_smoke)
