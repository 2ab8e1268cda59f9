"""The spline along which properties move between keyframes."""

from bisect import bisect_right
from collections.abc import Sequence

Values = tuple[float, ...]


class Spline:
    """A uniform Catmull-Rom spline through keyframes, its end points doubled.

    `times` rise strictly (seconds); `values` has one tuple per time, all of one length, a number per property.
    Before the first and after the last keyframe the values are constant. The curve passes through every keyframe and
    may overshoot between them: callers clamp values that have limits.
    """

    def __init__(self, times: Sequence[float], values: Sequence[Values]) -> None:
        if not times or len(times) != len(values):
            raise ValueError("a spline needs as many values as times, and one at least")
        self._times = tuple(times)
        self._values = tuple(values)

    def at(self, time: float) -> Values:
        """Return the value of every property at a time in seconds."""
        following = bisect_right(self._times, time)
        if following == 0:
            return self._values[0]
        if following == len(self._times):
            return self._values[-1]
        start, end = self._times[following - 1], self._times[following]
        position = (time - start) / (end - start)
        before = self._values[max(following - 2, 0)]
        after = self._values[min(following + 1, len(self._values) - 1)]
        points = zip(before, self._values[following - 1], self._values[following], after, strict=True)
        return tuple(_catmull_rom(p0, p1, p2, p3, position) for p0, p1, p2, p3 in points)


def _catmull_rom(p0: float, p1: float, p2: float, p3: float, position: float) -> float:
    """Evaluate the uniform Catmull-Rom curve from p1 (position 0) to p2 (position 1)."""
    linear = p2 - p0
    square = 2 * p0 - 5 * p1 + 4 * p2 - p3
    cube = 3 * (p1 - p2) + p3 - p0
    return p1 + 0.5 * position * (linear + position * (square + position * cube))
