"""Which metrics and labels an expression of Prometheus reads, which the service has, and what promtool says."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric

OBSERVABILITY = Path(__file__).parents[3] / "infra" / "observability"
promtool_only = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
_STRING = re.compile(r"\"[^\"]*\"")
_METRIC = re.compile(r"\b(?:framehook|process|python)_\w+")
_MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")


def find_metrics(expression: str) -> set[str]:
    """Return the names of the service's metrics in an expression."""
    return set(_METRIC.findall(_STRING.sub("", expression)))


def find_labels(expression: str) -> set[str]:
    """Return the labels that an expression matches or groups by."""
    grouped = ",".join(_GROUPED.findall(expression))
    return set(_MATCHED.findall(expression)) | set(re.findall(r"\w+", grouped))


def names_of_samples(families: Iterable[Metric]) -> set[str]:
    """Return the names that samples of these families have, also where there is none yet."""
    names = set()
    for family in families:
        base = family.name.removesuffix("_total")
        names |= {base + suffix for suffix in _SUFFIXES.get(family.type, ("",))}
    return names


def run_promtool(*arguments: str | Path) -> str:
    """Return what promtool prints, run in the folder of the rules; fail if it finds a fault."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=OBSERVABILITY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
