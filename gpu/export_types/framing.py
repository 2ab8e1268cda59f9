"""Framing: a crop that follows its keyframes, scaled to the requested size."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from gpu.config import (
    MAX_KEYFRAMES,
    MAX_SIDE,
    EvenSide,
    Length,
    Pixels,
    Seconds,
    Span,
    SpeedSegment,
    StrictModel,
    VideoConfig,
    check_time_order,
)
from gpu.export_types.base import ExportType

if TYPE_CHECKING:
    from gpu.media.encode import Render
    from gpu.sources.source import Source


class CropKeyframe(StrictModel):
    """The crop at a time, in pixels."""

    time: Seconds
    x: Pixels
    y: Pixels
    width: Length
    height: Length


class FramingConfig(VideoConfig):
    """Crop, follow, scale."""

    keyframes: Annotated[list[CropKeyframe], Field(min_length=1, max_length=MAX_KEYFRAMES)]
    output_width: EvenSide | None = None
    output_height: EvenSide | None = None
    trim: Span | None = None
    segments: list[SpeedSegment] = Field(default=[], max_length=500)
    rotation: Annotated[float, Field(ge=-180, le=180)] = 0.0

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        check_time_order([keyframe.time for keyframe in self.keyframes], "keyframes")
        for earlier, later in itertools.pairwise(self.segments):
            if later.start < earlier.end:
                raise ValueError("segments must come in order and must not overlap")
        return self


def output_size(config: FramingConfig) -> tuple[int, int]:
    """Return even width and height: as configured, and by the first crop where one or both are not."""
    first = config.keyframes[0]
    width, height = config.output_width, config.output_height
    if width is None and height is None:
        return _even_side(first.width), _even_side(first.height)
    if width is None:
        return _even_side(first.width / first.height * (height or 0)), height or 0
    return width, height or _even_side(first.height / first.width * width)


def _even_side(length: float) -> int:
    return min(max(16, 2 * round(length / 2)), MAX_SIDE)


def plan(config: FramingConfig, sources: "Mapping[str, Source]") -> "Render":
    """Check a framing against its source. Raises ExportError: crop_outside_source, clip_outside_source."""
    from gpu.export_types.crop import plan_crop

    return plan_crop(config, sources[config.input_key])


EXPORT_TYPE = ExportType(
    name="framing",
    description="Crop a video along keyframes, follow the action and scale the result.",
    config=FramingConfig,
    plan=plan,
)
