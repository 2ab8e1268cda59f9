"""Where a picture lies in a larger one of another shape: as large as it can be, in the middle, never distorted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A place in pixels, all of them even."""

    x: int
    y: int
    width: int
    height: int


def fit_box(width: float, height: float, out_width: int, out_height: int) -> Box:
    """The largest place in the middle of the output for a picture of the given size."""
    scale = min(out_width / width, out_height / height)
    wide = min(out_width, max(2, round_to_even(width * scale)))
    high = min(out_height, max(2, round_to_even(height * scale)))
    return Box((out_width - wide) // 4 * 2, (out_height - high) // 4 * 2, wide, high)


def round_to_even(length: float) -> int:
    """The even number nearest to a length."""
    return 2 * round(length / 2)
