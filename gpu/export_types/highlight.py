"""The ellipse of a highlight region at a time: its keyframes on the spline, and its fade."""

from dataclasses import dataclass

from gpu.draw.compositing import Color, rgb
from gpu.draw.ellipse import Ellipse
from gpu.export_types.keyframes import Spline, Values
from gpu.export_types.overlay import EllipseKeyframe, HighlightRegion, OverlaySettings

DEFAULT_COLOR = "#ffff00"
# A keyframe on the frame next to the start or end belongs to the region.
_BOUND_SECONDS = 0.04
# Height by width of a circle on the ground, as cameras at a pitch see it.
_GROUND_ASPECT = 0.3


@dataclass(frozen=True)
class HighlightState:
    """One ellipse in one frame; `level` is the progress of its fade, 0 to 1, by which the opacities are multiplied."""

    ellipse: Ellipse
    level: float
    stroke_opacity: float
    fill_opacity: float
    color: Color


class Highlight:
    """A region on frames of the given size; coordinates of another video size are scaled."""

    def __init__(self, region: HighlightRegion, settings: OverlaySettings, width: int, height: int) -> None:
        self._start, self._end = region.start_time, region.end_time
        self._fade = min(settings.fade, (region.end_time - region.start_time) / 2)
        self._on_ground = settings.shape == "ground"
        scale_x, scale_y = _scale(region, width, height)
        keyframes = _select_keyframes(region)
        self._path = Spline(
            [keyframe.time for keyframe in keyframes],
            [
                (
                    keyframe.x * scale_x,
                    keyframe.y * scale_y,
                    keyframe.radius_x * scale_x,
                    keyframe.radius_y * scale_y,
                    *_appearance(keyframe, region, settings),
                )
                for keyframe in keyframes
            ],
        )

    def at(self, time: float) -> HighlightState | None:
        """Return the state at a time in seconds, or None if the region is not visible then."""
        level = self._level(time)
        if level <= 0:
            return None
        x, y, radius_x, radius_y, stroke, fill, *color = self._path.at(time)
        red, green, blue = (_clamp_fraction(channel) for channel in color)
        ellipse = Ellipse(x, y, max(radius_x, 0.0), max(radius_y, 0.0))
        return HighlightState(
            ellipse=_at_feet(ellipse) if self._on_ground else ellipse,
            level=level,
            stroke_opacity=_clamp_fraction(stroke),
            fill_opacity=_clamp_fraction(fill),
            color=(red, green, blue),
        )

    def _level(self, time: float) -> float:
        if not self._start <= time < self._end:
            return 0.0
        distance = min(time - self._start, self._end - time)
        return min(1.0, distance / self._fade) if self._fade else 1.0


def _select_keyframes(region: HighlightRegion) -> list[EllipseKeyframe]:
    """Return the keyframes within the region, or all if there are none: the spline then keeps the nearest."""
    low, high = region.start_time - _BOUND_SECONDS, region.end_time + _BOUND_SECONDS
    return [keyframe for keyframe in region.keyframes if low <= keyframe.time <= high] or region.keyframes


def _scale(region: HighlightRegion, width: int, height: int) -> tuple[float, float]:
    """Return frame pixels per pixel of the region's video size; if only one side is known, it counts for both."""
    scale_x = width / region.video_width if region.video_width else None
    scale_y = height / region.video_height if region.video_height else None
    return scale_x or scale_y or 1.0, scale_y or scale_x or 1.0


def _appearance(keyframe: EllipseKeyframe, region: HighlightRegion, settings: OverlaySettings) -> Values:
    """Return stroke opacity, fill opacity and color; a keyframe overrides its region, a region the settings."""
    stroke = 1.0 if keyframe.stroke_opacity is None else keyframe.stroke_opacity
    fill = settings.fill_opacity if keyframe.fill_opacity is None else keyframe.fill_opacity
    color = rgb(keyframe.color or region.color or DEFAULT_COLOR)
    return stroke, fill if settings.fill_enabled else 0.0, *color


def _at_feet(body: Ellipse) -> Ellipse:
    return Ellipse(body.x, body.y + body.radius_y, body.radius_x, body.radius_x * _GROUND_ASPECT)


def _clamp_fraction(value: float) -> float:
    """Clamp to 0..1: the spline may overshoot between keyframes."""
    return min(max(value, 0.0), 1.0)
