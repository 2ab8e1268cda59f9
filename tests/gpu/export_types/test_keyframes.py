"""The spline, compared with the textbook and with its documented properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu.export_types.keyframes import Spline


def test_it_passes_through_every_keyframe() -> None:
    spline = Spline([0, 1, 3, 4], [(0, 5), (10, 4), (-3, 3), (8, 2)])
    assert [spline.at(time) for time in (0, 1, 3, 4)] == [(0, 5), (10, 4), (-3, 3), (8, 2)]


def test_it_holds_before_the_first_and_after_the_last() -> None:
    spline = Spline([1, 2], [(3,), (7,)])
    assert (spline.at(-5), spline.at(99)) == ((3,), (7,))


def test_one_keyframe_holds_for_ever() -> None:
    assert Spline([2], [(1, 2, 3)]).at(0.5) == (1, 2, 3)


def test_it_is_the_uniform_catmull_rom_spline() -> None:
    # 0.5 * ((2 p1) + (p2 - p0) u + (2 p0 - 5 p1 + 4 p2 - p3) u^2 + (3 p1 - p0 - 3 p2 + p3) u^3) at u = 0.25
    spline = Spline([0, 1, 2, 3], [(0,), (4,), (6,), (20,)])
    expected = 0.5 * (8 + 6 * 0.25 + (0 - 20 + 24 - 20) * 0.0625 + (12 - 0 - 18 + 20) * 0.015625)
    assert spline.at(1.25)[0] == pytest.approx(expected)


def test_end_points_are_doubled() -> None:
    # Half-way between two keyframes alone, doubling both ends gives their mean.
    assert Spline([0, 2], [(0,), (10,)]).at(1.0) == (5,)


def test_a_keyframe_list_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="as many values"):
        Spline([], [])


@given(st.floats(0, 3), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_on_a_straight_line_it_stays_on_it(time: float, begin: float, slope: float) -> None:
    inner = 1 + time / 3  # between the middle keyframes, where no end is doubled
    spline = Spline([0, 1, 2, 3], [(begin + slope * at,) for at in (0, 1, 2, 3)])
    assert spline.at(inner)[0] == pytest.approx(begin + slope * inner, abs=1e-6)
