"""Field types and base models of export configurations; each export type adds its own model.

Coordinates are pixels of the source as displayed, origin top left; times are seconds from the source's start.
"""

import itertools
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from gpu.keys import MAX_KEY_BYTES, validate_key

MAX_KEYFRAMES = 20_000
MAX_SIDE = 8_192
MAX_MIXED_TRACKS = 32
_COLOR = re.compile("#[0-9a-fA-F]{6}")


def _read_integer(value: object) -> object:
    """Read 5.0 as 5: JSON Schema knows no difference."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _validate_color(value: str) -> str:
    if not _COLOR.fullmatch(value):
        raise ValueError("a color is written #rrggbb, such as #ff8800")
    return value


def _validate_background(value: str) -> str:
    if value != "black" and not _COLOR.fullmatch(value):
        raise ValueError("a background is black or written #rrggbb, such as #ff8800")
    return value


def answer_in_a_sentence(sentence: str) -> WrapValidator:
    """Answer a wrong value with one sentence, where a union would list the errors of each type."""

    def validate(value: object, check: ValidatorFunctionWrapHandler) -> object:
        try:
            return check(value)
        except ValidationError:
            raise ValueError(sentence) from None

    return WrapValidator(validate)


WholeNumber = BeforeValidator(_read_integer)
"""Stands behind the limits of an integer, for pydantic forgets limits that are behind it."""
Seconds = Annotated[float, Field(ge=0, le=7 * 86_400)]
Pixels = Annotated[float, Field(ge=-65_536, le=65_536)]
Length = Annotated[float, Field(gt=0, le=65_536)]
Opacity = Annotated[float, Field(ge=0, le=1)]
Color = Annotated[
    str, AfterValidator(_validate_color), WithJsonSchema({"type": "string", "pattern": f"^{_COLOR.pattern}$"})
]
EvenSide = Annotated[int, Field(ge=16, le=MAX_SIDE, multiple_of=2), WholeNumber]
Background = Annotated[
    str,
    AfterValidator(_validate_background),
    WithJsonSchema({"type": "string", "pattern": f"^(black|{_COLOR.pattern})$"}),
]
TrackNumber = Annotated[int, Field(ge=0, le=10_000, strict=True), WholeNumber]
Key = Annotated[
    str,
    AfterValidator(validate_key),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES}),
]


class StrictModel(BaseModel):
    """Base model that rejects unknown fields, infinity and NaN."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, defer_build=True
    )


class Quality(StrEnum):
    """Measured encoder settings, from fast and small to slow and good."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class Codec(StrEnum):
    """Video codecs of outputs."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class Span(StrictModel):
    """A part of the source, in seconds; `end` is after `start`."""

    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end <= self.start:
            raise ValueError("`end` must be after `start`")
        return self


class SpeedSegment(Span):
    """A part of the source played at another speed: 0.5 is slow motion, 2 is twice as fast."""

    speed: Annotated[float, Field(ge=0.1, le=8)]


class AudioTrack(StrictModel):
    """One audio track, by its number in the file, counted from 0."""

    track: TrackNumber


class AudioMix(StrictModel):
    """Several audio tracks mixed without a change of level."""

    mix: Annotated[list[TrackNumber], Field(min_length=1, max_length=MAX_MIXED_TRACKS)]


class ExportConfig(StrictModel):
    """Fields of every export: the source and, if the client names one, the key of the output."""

    input_key: Key
    output_key: Key | None = None

    @property
    def input_keys(self) -> list[str]:
        """Every source that the export reads, each once, in the order of first use."""
        return [self.input_key]

    def locate_inputs(self) -> dict[str, tuple[str | int, ...]]:
        """Return the path of the first field that names each source."""
        return {self.input_key: ("input_key",)}

    @model_validator(mode="after")
    def _check_output_key(self) -> Self:
        if self.output_key in self.input_keys:
            raise ValueError("`output_key` must differ from the keys that the export reads")
        return self


class VideoConfig(ExportConfig):
    """Fields of every export whose output is a video.

    `audio` selects the audio tracks; the default is the film's own. `background` fills the area that no picture
    covers, and shows through transparent pixels.

    `parallelism` is the largest number of chunks that are encoded in parallel. There are fewer if chunks would be
    shorter than two seconds, or on one machine if there would be more than two per core.
    """

    fps: Annotated[float, Field(ge=1, le=240)] | None = None
    include_audio: bool = True
    audio: Annotated[
        AudioTrack | AudioMix | Literal["all"] | None,
        answer_in_a_sentence(
            f'audio is "all", {{"track": number}} or {{"mix": [number, …]}} with 1 to {MAX_MIXED_TRACKS} numbers'
        ),
    ] = None
    background: Background = "black"
    quality: Quality = Quality.STANDARD
    codec: Codec = Codec.H264
    parallelism: Annotated[int, Field(ge=1, le=32), WholeNumber] = 1


def check_time_order(keyframes: Iterable[float], what: str) -> None:
    """Raise ValueError unless the times rise strictly; `what` names them in the message."""
    if any(later <= earlier for earlier, later in itertools.pairwise(keyframes)):
        raise ValueError(f"{what} must come in rising order of time")


def check_end_after_start(start_time: float, end_time: float) -> None:
    """Raise ValueError unless the end is after the start."""
    if end_time <= start_time:
        raise ValueError("`end_time` must be after `start_time`")
