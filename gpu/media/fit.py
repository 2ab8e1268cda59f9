"""Fit a picture into a frame of another shape: as large as possible, centred, undistorted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels; all four numbers are even."""

    x: int
    y: int
    width: int
    height: int


def fit_box(width: float, height: float, out_width: int, out_height: int) -> Box:
    """Return the largest centred box of the output for a picture of the given size."""
    scale = min(out_width / width, out_height / height)
    box_width = min(out_width, max(2, round_to_even(width * scale)))
    box_height = min(out_height, max(2, round_to_even(height * scale)))
    return Box((out_width - box_width) // 4 * 2, (out_height - box_height) // 4 * 2, box_width, box_height)


def round_to_even(length: float) -> int:
    """Return the even number nearest to a length."""
    return 2 * round(length / 2)
