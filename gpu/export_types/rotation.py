"""How far a rotated picture extends beyond its frame, and where a crop of it may be placed."""

import math
from collections.abc import Sequence

from gpu.export_types.framing import CropKeyframe

# The largest overshoot of a Catmull-Rom spline, as a fraction of the range of its keyframes.
_MAX_OVERSHOOT = 0.125
_ROUNDING_PIXELS = 1e-3

Size = tuple[int, int]
"""Pixels along the width and along the height."""


def find_overhang(keyframes: Sequence[CropKeyframe], frame: Size, degrees: float) -> Size:
    """Return the pixels beyond either end of each side that crops can show; 0 while all crops fit the frame."""
    max_width = _spline_bound([keyframe.width for keyframe in keyframes])
    max_height = _spline_bound([keyframe.height for keyframe in keyframes])
    if not degrees or (max_width <= frame[0] and max_height <= frame[1]):
        return 0, 0
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    width, height = frame
    return (
        _overhang(width * cosine + height * sine - width),
        _overhang(width * sine + height * cosine - height),
    )


def _spline_bound(lengths: Sequence[float]) -> float:
    """Return an upper bound of a spline through some lengths."""
    return max(lengths) + _MAX_OVERSHOOT * (max(lengths) - min(lengths))


def _overhang(growth: float) -> int:
    """Return half of a side's growth, rounded up to even pixels: a whole number of chroma samples."""
    return max(0, 2 * math.ceil((growth - _ROUNDING_PIXELS) / 4))


def limit_start(start: float, length: float, frame: float, overhang: float) -> float:
    """Move a crop along an axis into the frame, or around the frame if the crop is longer.

    A crop that is longer than the frame stays within the rotated picture, or around that if it is longer still.
    """
    slack = min(abs(frame - length), abs(frame + 2 * overhang - length)) / 2
    middle = (frame - length) / 2
    return min(max(start, middle - slack), middle + slack)
