"""What the Modal guide says of times and prices follows from measured rates and listed prices."""

import re

from service.costs.prices import GPU_USD_PER_SECOND
from tests.docs.markdown import GUIDES

MEGAPIXELS_A_MINUTE = 1920 * 1080 * 30 * 60 / 1e6


def read_table(guide: str, first_column: str) -> list[dict[str, str]]:
    """Return the rows of the table whose first column has this heading."""
    lines = iter((GUIDES / guide).read_text("utf-8").splitlines())
    header = next(line for line in lines if line.startswith(f"| {first_column}"))
    names = split_row(header)
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, split_row(line), strict=True)))
    return rows


def split_row(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def read_rates() -> dict[str, tuple[float, float]]:
    """Return seconds, and milliseconds for each megapixel, by what is done."""
    rows = read_table("benchmarks.md", "                      | seconds, s")
    return {row[""]: (float(row["seconds, s"] or 0), float(row["a megapixel, ms"] or 0)) for row in rows}


def test_seconds_and_dollars_are_those_of_the_rates_and_the_prices() -> None:
    rates = read_rates()
    rows = read_table("modal.md", "a minute of 1080p")
    assert len(rows) == 5
    for row in rows:
        _, read = rates["read h264"]
        _, encode = rates[f"encode {row['a minute of 1080p']}"]
        seconds = rates["every export"][0] + (read + encode) * MEGAPIXELS_A_MINUTE / 1_000
        assert row["CPU seconds here"] == f"{seconds:.0f}"
        for column, cell in row.items():
            if card := re.search(r"on an? (\w+)$", column):
                assert cell == f"${seconds * GPU_USD_PER_SECOND[card[1]]:.3f}", column


def test_every_test_that_the_guide_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (GUIDES / "modal.md").read_text("utf-8")))
    tests = (path.read_text("utf-8") for path in (GUIDES.parents[1] / "tests").rglob("test_*.py"))
    defined = {name for text in tests for name in re.findall(r"def (test_\w+)", text)}
    assert named
    assert named <= defined
