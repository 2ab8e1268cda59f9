"""A benchmark's result: stored as JSON, shown as a table, and written into the guide."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.bench.benchmark import RATIO, Figure
from tests.bench.machine import ROOT, Machine

RESULTS = ROOT / "tests" / "bench" / "results"
GUIDE = ROOT / "service" / "docs" / "benchmarks.md"
# Markdown shows no link definition; the pages of the guides show HTML comments as text.
_BEGIN, _END = "[//]: # (figures: {name})", "[//]: # (end of figures)"


class Report(msgspec.Struct, frozen=True):
    """What a benchmark measured, when, where and of which commit."""

    name: str
    description: str
    date: str
    commit: str
    machine: Machine
    rounds: int
    sizes: Mapping[str, int]
    figures: list[Figure]

    def save(self) -> None:
        """Write the result as JSON, in place of an earlier one, and into the guide."""
        encoded = msgspec.json.format(msgspec.json.encode(self), indent=1)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_bytes(encoded + b"\n")
        GUIDE.write_text(insert_table(GUIDE.read_text("utf-8"), self), "utf-8")


def read_report(path: Path) -> Report:
    """Read a stored result."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def insert_table(text: str, report: Report) -> str:
    """Return the guide with the table of this result between its markers; a new one gets a section at the end."""
    begin = _BEGIN.format(name=report.name)
    block = f"{begin}\n\n{render_table(report)}\n\n{_END}"
    if begin not in text:
        return f"{text.rstrip()}\n\n## {report.name.capitalize()}\n\n{report.description}\n\n{block}\n"
    return re.sub(
        re.escape(begin) + r".*?" + re.escape(_END), lambda _: block, text, count=1, flags=re.DOTALL
    )


def render_table(report: Report) -> str:
    """Return the medians as a Markdown table, and a line that says where they come from.

    Raises ValueError if a measure has several units.
    """
    measured = [figure for figure in report.figures if figure.rounds]
    headings = {figure.measure: _render_heading(figure) for figure in measured}
    if set(headings.values()) != {_render_heading(figure) for figure in measured}:
        raise ValueError(f"{report.name} has a measure with several units")
    cells = {(figure.variant, figure.measure): format_figure(figure) for figure in measured}
    absent = {figure.variant: figure.absent_because for figure in report.figures if not figure.rounds}
    rows = []
    for variant in dict.fromkeys(figure.variant for figure in report.figures):
        name = f"{variant}: {absent[variant]}" if variant in absent else variant
        rows.append([name, *(cells.get((variant, measure), "") for measure in headings)])
    return "\n".join([*_align([["", *headings.values()], *rows]), "", _render_origin(report)])


def format_figure(figure: Figure) -> str:
    """Return the median with three digits."""
    value = float(f"{figure.median:.3g}")
    if figure.unit == "count":
        return f"{figure.median:,.0f}"
    if figure.unit == RATIO or abs(value) < 10:
        return f"{value:,.2f}"
    return f"{value:,.{1 if abs(value) < 100 else 0}f}"


def _render_heading(figure: Figure) -> str:
    return figure.measure if figure.unit in (RATIO, "count") else f"{figure.measure}, {figure.unit}"


def _align(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their widest cell, numbers to the right."""
    widths = [max(4, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append(f"| {' | '.join([first.ljust(widths[0]), *cells])} |")
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [lines[0], f"| {' | '.join(rule)} |", *lines[1:]]


def _render_origin(report: Report) -> str:
    sizes = "".join(f" --size {name}={size}" for name, size in report.sizes.items())
    command = f'`make bench ARGS="{report.name} --rounds {report.rounds}{sizes}"`'
    return f"{command}: medians of {report.date}, commit {report.commit}, {report.machine.describe()}."
