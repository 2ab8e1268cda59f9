"""How long an export may last, and what it may take of the machine."""

from fractions import Fraction

import pytest

from gpu.errors import ExportError
from gpu.timeline import Piece, clock, length, pieces


@pytest.mark.parametrize(
    "rate", [Fraction(1, 10), Fraction(15_360, 2**31 - 1)], ids=["slides", "a day a frame"]
)
def test_a_slow_source_lasts_no_longer_than_it_does(rate: Fraction) -> None:
    cut = (Piece(0, 4),)
    assert length(cut, clock(None, rate, variable=False, cut=cut)) == 4


@pytest.mark.parametrize(("end", "code"), [(1e-6, "output_too_short"), (90_000, "output_too_long")])
def test_an_export_lasts_a_millisecond_to_a_day(end: float, code: str) -> None:
    with pytest.raises(ExportError) as caught:
        pieces(0, end, [])
    assert caught.value.code == code
