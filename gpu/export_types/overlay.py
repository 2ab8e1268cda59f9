"""Overlay: highlight players with ellipses and draw text for a while; other frames pass through unchanged."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from gpu.config import (
    MAX_KEYFRAMES,
    Color,
    Length,
    Opacity,
    Pixels,
    Seconds,
    StrictModel,
    VideoConfig,
    check_end_after_start,
    check_time_order,
)
from gpu.draw.text_config import TextLayer
from gpu.export_types.base import ExportType

if TYPE_CHECKING:
    from gpu.media.encode import Render
    from gpu.media.passthrough import PassthroughSource
    from gpu.sources.source import Source

MAX_REGIONS = 500


class EllipseKeyframe(StrictModel):
    """The ellipse at a time: centre and radii in pixels."""

    time: Seconds
    x: Pixels
    y: Pixels
    radius_x: Annotated[Length, Field(alias="radiusX")]
    radius_y: Annotated[Length, Field(alias="radiusY")]
    stroke_opacity: Annotated[Opacity | None, Field(alias="strokeOpacity")] = None
    fill_opacity: Annotated[Opacity | None, Field(alias="fillOpacity")] = None
    color: Color | None = None


class HighlightRegion(StrictModel):
    """An ellipse from `start_time` to `end_time`, in pixels of a video of the given size."""

    start_time: Seconds
    end_time: Seconds
    enabled: bool = True
    color: Color | None = None
    keyframes: Annotated[list[EllipseKeyframe], Field(min_length=1, max_length=MAX_KEYFRAMES)]
    video_width: Annotated[Length | None, Field(alias="videoWidth")] = None
    video_height: Annotated[Length | None, Field(alias="videoHeight")] = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        check_end_after_start(self.start_time, self.end_time)
        check_time_order([keyframe.time for keyframe in self.keyframes], "keyframes")
        return self


class EffectType(StrEnum):
    """What the overlay does to the light outside or inside the ellipses."""

    DARK_OVERLAY = "dark_overlay"
    BRIGHTNESS_BOOST = "brightness_boost"
    ORIGINAL = "original"


class OverlaySettings(StrictModel):
    """How ellipses look; `stroke_width` in pixels at a height of 1080, `fade` in seconds."""

    shape: Literal["body", "ground"] = "body"
    dim_strength: Opacity = 0.20
    fill_enabled: bool = False
    fill_opacity: Opacity = 0.20
    stroke_width: Annotated[float, Field(ge=0, le=100)] = 2.0
    fade: Annotated[float, Field(ge=0, le=10)] = 0.25


class OverlayConfig(VideoConfig):
    """Highlight players, write on the picture."""

    highlight_regions: list[HighlightRegion] = Field(default=[], max_length=MAX_REGIONS)
    effect_type: EffectType = EffectType.DARK_OVERLAY
    overlay_settings: OverlaySettings = OverlaySettings()
    text_layers: list[TextLayer] = Field(default=[], max_length=500)


def plan(config: OverlayConfig, sources: "Mapping[str, Source]") -> "Render | PassthroughSource":
    """Check an overlay against its source. Raises ExportError: clip_outside_source."""
    from gpu.export_types.overlay_drawing import plan_overlay

    return plan_overlay(config, sources[config.input_key])


EXPORT_TYPE = ExportType(
    name="overlay",
    description="Highlight players with ellipses that follow them, and write on the picture.",
    config=OverlayConfig,
    plan=plan,
)
