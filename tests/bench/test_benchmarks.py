"""Every benchmark runs and returns figures of the right form; no test here claims a time."""

import pytest

from tests.bench.__main__ import run_benchmark
from tests.bench.registry import MODULES, load_benchmark
from tests.bench.report import GUIDE, RESULTS, insert_table, read_report


@pytest.mark.parametrize("name", MODULES)
def test_a_benchmark_returns_a_value_of_every_round(name: str) -> None:
    benchmark = load_benchmark(name)
    report = run_benchmark(name, benchmark, benchmark.choose_options(is_smoke=True))
    measured = [figure for figure in report.figures if figure.rounds]
    assert measured
    assert {len(figure.rounds) for figure in measured} == {report.rounds}
    assert len({(figure.variant, figure.measure) for figure in report.figures}) == len(report.figures)


def test_the_guide_shows_the_stored_figures() -> None:
    guide = GUIDE.read_text("utf-8")
    reports = {path.stem: read_report(path) for path in RESULTS.glob("*.json")}
    assert reports.keys() <= MODULES.keys()
    assert [name for name, report in reports.items() if insert_table(guide, report) != guide] == []
