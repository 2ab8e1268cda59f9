"""Which metrics an expression of Prometheus reads, and which the service has."""

import re
from collections.abc import Iterable

from prometheus_client.core import Metric

_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
_STRING = re.compile(r"\"[^\"]*\"")
_METRIC = re.compile(r"\b(?:framehook|process|python)_\w+")


def find_metrics(expression: str) -> set[str]:
    """Return the names of the service's metrics in an expression."""
    return set(_METRIC.findall(_STRING.sub("", expression)))


def names_of_samples(families: Iterable[Metric]) -> set[str]:
    """Return the names that samples of these families have, also where there is none yet."""
    names = set()
    for family in families:
        base = family.name.removesuffix("_total")
        names |= {base + suffix for suffix in _SUFFIXES.get(family.type, ("",))}
    return names
