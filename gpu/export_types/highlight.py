"""Which ellipses are shown at a time, where, and how: a region's keyframes on the one spline."""

from dataclasses import dataclass

from gpu.draw.compositing import Color, rgb
from gpu.draw.ellipse import Ellipse
from gpu.export_types.keyframes import Spline, Values
from gpu.spec import EllipseKeyframe, HighlightRegion, OverlaySettings

DEFAULT_COLOR = "#ffff00"
# A keyframe set on the frame beside a bound belongs to the region.
_BOUND_SECONDS = 0.04
# How flat a circle on the ground looks from where cameras stand.
_FLATNESS = 0.3


@dataclass(frozen=True)
class Look:
    """One ellipse in one frame; `level` is how far it has faded in, from 0 to 1, and the rest is at full level."""

    ellipse: Ellipse
    level: float
    stroke_opacity: float
    fill_opacity: float
    color: Color


class Highlight:
    """A region on a frame of the given size; what was drawn on another size is scaled."""

    def __init__(self, region: HighlightRegion, settings: OverlaySettings, width: int, height: int) -> None:
        self._start, self._end = region.start_time, region.end_time
        self._fade = min(settings.fade, (region.end_time - region.start_time) / 2)
        self._on_ground = settings.shape == "ground"
        across, down = _scale(region, width, height)
        keys = _counting(region)
        self._path = Spline(
            [key.time for key in keys],
            [
                (
                    key.x * across,
                    key.y * down,
                    key.radius_x * across,
                    key.radius_y * down,
                    *_look(key, region, settings),
                )
                for key in keys
            ],
        )

    def at(self, time: float) -> Look | None:
        """How the region looks at a time in seconds, or None if it isn't seen."""
        level = self._level(time)
        if level <= 0:
            return None
        x, y, radius_x, radius_y, stroke, fill, *color = self._path.at(time)
        red, green, blue = (_share(part) for part in color)
        ellipse = Ellipse(x, y, max(radius_x, 0.0), max(radius_y, 0.0))
        return Look(
            ellipse=_at_the_feet(ellipse) if self._on_ground else ellipse,
            level=level,
            stroke_opacity=_share(stroke),
            fill_opacity=_share(fill),
            color=(red, green, blue),
        )

    def _level(self, time: float) -> float:
        if not self._start <= time < self._end:
            return 0.0
        nearest = min(time - self._start, self._end - time)
        return min(1.0, nearest / self._fade) if self._fade else 1.0


def _counting(region: HighlightRegion) -> list[EllipseKeyframe]:
    """The keyframes within the region; if it has been moved away from all of them, the nearest hold."""
    low, high = region.start_time - _BOUND_SECONDS, region.end_time + _BOUND_SECONDS
    return [key for key in region.keyframes if low <= key.time <= high] or region.keyframes


def _scale(region: HighlightRegion, width: int, height: int) -> tuple[float, float]:
    """Pixels of the frame to one of the size that the region was drawn on; one side tells of both."""
    across = width / region.video_width if region.video_width else None
    down = height / region.video_height if region.video_height else None
    return across or down or 1.0, down or across or 1.0


def _look(key: EllipseKeyframe, region: HighlightRegion, settings: OverlaySettings) -> Values:
    """Opacity of stroke and fill, and the colour, each from the nearest that says: keyframe, region, settings."""
    stroke = 1.0 if key.stroke_opacity is None else key.stroke_opacity
    fill = settings.fill_opacity if key.fill_opacity is None else key.fill_opacity
    return stroke, fill if settings.fill_enabled else 0.0, *rgb(key.color or region.color or DEFAULT_COLOR)


def _at_the_feet(body: Ellipse) -> Ellipse:
    return Ellipse(body.x, body.y + body.radius_y, body.radius_x, body.radius_x * _FLATNESS)


def _share(value: float) -> float:
    """The spline may overshoot between keyframes."""
    return min(max(value, 0.0), 1.0)
