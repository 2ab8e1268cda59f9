"""Figures are collected, compared and shown."""

import pytest

from tests.bench.__main__ import main
from tests.bench.benchmark import Figure
from tests.bench.machine import read_machine
from tests.bench.measure.samples import Samples, alternate, percentile
from tests.bench.report import Report, insert_table, render_table


def build_report(figures: list[Figure], *, name: str = "posts") -> Report:
    return Report(name, "Posts beside others.", "2026-11-30", "abc", read_machine(), 2, {"posts": 9}, figures)


def collect() -> Samples:
    samples = Samples()
    for base, ours in ((10.0, 30.0), (20.0, 40.0)):
        samples.add("bare", "posts", base, "1/s")
        samples.add("ours", "posts", ours, "1/s")
    return samples


def test_ratios_compare_values_of_the_same_round() -> None:
    samples = collect()
    samples.add_ratios("posts", base="bare")
    ratios = {figure.variant: figure.rounds for figure in samples.to_figures() if figure.unit == "ratio"}
    assert ratios == {"bare": (1.0, 1.0), "ours": (3.0, 2.0)}


def test_a_table_has_a_row_for_each_variant_and_says_who_is_absent() -> None:
    samples = collect()
    samples.add_absent("nchan", "nginx is not installed")
    table = render_table(build_report(samples.to_figures()))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:5]]
    assert rows[0] == ["", "posts, 1/s"]
    assert rows[2:] == [["bare", "15.0"], ["ours", "35.0"], ["nchan: nginx is not installed", ""]]
    assert 'make bench ARGS="posts --rounds 2 --size posts=9"' in table
    assert "2026-11-30, commit abc" in table


@pytest.mark.parametrize(
    ("variant", "measure", "unit", "rounds", "reason"),
    [
        ("", "posts", "1/s", (1.0,), ""),
        ("ours", "posts", "furlongs", (1.0,), ""),
        ("ours", "posts", "1/s", (), ""),
        ("ours", "posts", "1/s", (float("nan"),), ""),
        ("ours", "posts", "1/s", (1.0,), "absent"),
    ],
    ids=["no variant", "unknown unit", "no value", "not a number", "absent and measured"],
)
def test_a_figure_of_another_form_is_refused(
    variant: str, measure: str, unit: str, rounds: tuple[float, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Figure(variant, measure, unit, rounds, reason)


def test_a_measure_has_one_unit() -> None:
    figures = [Figure("bare", "posts", "1/s", (1.0,)), Figure("ours", "posts", "ms", (1.0,))]
    with pytest.raises(ValueError, match="several units"):
        render_table(build_report(figures))


def test_a_new_table_replaces_the_earlier_one_and_nothing_else() -> None:
    guide = "# Benchmarks\n\n## Others\n\nText.\n"
    first = insert_table(guide, build_report(collect().to_figures()))
    assert first.startswith(guide.rstrip())
    assert "## Posts\n\nPosts beside others.\n\n[//]: # (figures: posts)" in first
    other = insert_table(first, build_report(collect().to_figures(), name="puts"))
    again = insert_table(other, build_report([Figure("bare", "posts", "1/s", (7.0,))]))
    assert again.count("(figures: posts)") == again.count("(figures: puts)") == 1
    assert again.index("7.00") < again.index("(figures: puts)") < again.index("35.0")


def test_variants_take_turns_in_both_orders() -> None:
    assert "".join(alternate("ABC", 3)) == "ABCCBAABC"


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = [float(number) for number in range(1, 201)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (100, 198, 200)
    assert percentile([3.0], 99) == 3.0


def test_the_list_names_each_benchmark_with_its_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["callbacks", "--list"]) == 0
    assert capsys.readouterr().out.startswith("callbacks")


@pytest.mark.parametrize("words", [["polka"], ["callbacks", "--size", "polka=1"]], ids=["name", "size"])
def test_unknown_names_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert "polka" in capsys.readouterr().err
