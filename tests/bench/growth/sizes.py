"""The sizes at which growth is measured, and how it is shown."""

from collections.abc import Mapping
from itertools import pairwise

from tests.bench.benchmark import RATIO
from tests.bench.measure.samples import Samples


def list_sizes(smallest: int) -> list[int]:
    """Return three sizes, each ten times the one before."""
    return [smallest, 10 * smallest, 100 * smallest]


def add_growth(samples: Samples, variant: str, microseconds: Mapping[int, float]) -> None:
    """Add the cost of a unit at each size, and the ratio of each to the one before."""
    for size, cost in microseconds.items():
        samples.add(variant, f"at {size:,}", cost, "µs")
    for before, size in pairwise(microseconds):
        samples.add(variant, f"growth to {size:,}", microseconds[size] / microseconds[before], RATIO)
