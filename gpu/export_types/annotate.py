"""Annotate: cut clips out of their sources, label them, join them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from gpu.config import Key, Seconds, StrictModel, VideoConfig, WholeNumber, check_end_after_start
from gpu.export_types.base import ExportType

if TYPE_CHECKING:
    from gpu.media.encode import Render
    from gpu.sources.source import Source

MAX_CLIPS = 500


class Clip(StrictModel):
    """A part of a source, its label, and its source if that is not the export's own."""

    start_time: Seconds
    end_time: Seconds
    name: Annotated[str, Field(max_length=500)]
    notes: Annotated[str, Field(max_length=5_000)] = ""
    rating: Annotated[int, Field(ge=1, le=5), WholeNumber] | None = None
    tags: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)
    input_key: Key | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        check_end_after_start(self.start_time, self.end_time)
        return self


class Transition(StrictModel):
    """The transition between two clips; a cut takes no time."""

    type: Literal["cut", "fade", "dissolve"] = "cut"
    duration: Annotated[float, Field(ge=0, le=5)] = 0.5


class AnnotateConfig(VideoConfig):
    """Cut clips, label them, join them."""

    clips: Annotated[list[Clip], Field(min_length=1, max_length=MAX_CLIPS)]
    transition: Transition = Transition()
    show_labels: bool = True

    @property
    def input_keys(self) -> list[str]:
        return list(dict.fromkeys(clip.input_key or self.input_key for clip in self.clips))

    def locate_inputs(self) -> dict[str, tuple[str | int, ...]]:
        locs = super().locate_inputs()
        for number, clip in enumerate(self.clips):
            if clip.input_key:
                locs.setdefault(clip.input_key, ("clips", number, "input_key"))
        return locs


def plan(config: AnnotateConfig, sources: "Mapping[str, Source]") -> "Render":
    """Check the clips against their sources. Raises ExportError: clip_outside_source, output_too_long."""
    from gpu.export_types.clip_film import plan_film

    return plan_film(config, sources)


EXPORT_TYPE = ExportType(
    name="annotate",
    description="Cut clips out of one or more videos, label them and join them.",
    config=AnnotateConfig,
    plan=plan,
)
