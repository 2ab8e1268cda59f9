"""How far a picture turned about its centre reaches beyond its frame, and where a crop of it may lie."""

import math
from collections.abc import Sequence

from gpu.spec import CropKeyframe

# A Catmull-Rom spline leaves the range of its keyframes by so much of that range at most.
_OVERSHOOT_SHARE = 0.125
_ROUNDING_PIXELS = 1e-3

Pixels = tuple[int, int]
"""Along the width and along the height."""


def find_overhang(keyframes: Sequence[CropKeyframe], frame: Pixels, degrees: float) -> Pixels:
    """Pixels beyond either end of each side of the frame that crops can show: none while all of them fit into it."""
    widest, highest = _bound([key.width for key in keyframes]), _bound([key.height for key in keyframes])
    if not degrees or (widest <= frame[0] and highest <= frame[1]):
        return 0, 0
    across, along = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    width, height = frame
    turned = width * across + height * along, width * along + height * across
    return _overhang(turned[0] - width), _overhang(turned[1] - height)


def _bound(lengths: Sequence[float]) -> float:
    """The most that a spline through some lengths comes to."""
    return max(lengths) + _OVERSHOOT_SHARE * (max(lengths) - min(lengths))


def _overhang(larger: float) -> int:
    """Half of what a side has grown by, in an even number of pixels, which is a whole number of samples of colour."""
    return max(0, 2 * math.ceil((larger - _ROUNDING_PIXELS) / 4))


def limit_start(start: float, length: float, frame: float, overhang: float) -> float:
    """Move a crop along an axis until it lies within the frame; if it is longer, until the frame lies within it.

    If the crop is longer than the turned picture, that lies within it; if not, the crop lies within the turned picture.
    """
    slack = min(abs(frame - length), abs(frame + 2 * overhang - length)) / 2
    middle = (frame - length) / 2
    return min(max(start, middle - slack), middle + slack)
