"""What one attempt is asked to do: the three configurations, and where its bytes come from and go to.

Coordinates are pixels of the source as displayed, origin top left; times are seconds from the source's start.
"""

import itertools
import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)

from gpu.keys import validate_key

MAX_KEYFRAMES = 20_000
MAX_REGIONS = 500
MAX_CLIPS = 500
MAX_SIDE = 8_192
MAX_MIXED_TRACKS = 32
_COLOR = re.compile("#[0-9a-fA-F]{6}")


def _checked_color(value: str) -> str:
    if not _COLOR.fullmatch(value):
        raise ValueError("a color is written #rrggbb, such as #ff8800")
    return value


def _checked_background(value: str) -> str:
    if value != "black" and not _COLOR.fullmatch(value):
        raise ValueError("a background is black or written #rrggbb, such as #ff8800")
    return value


Seconds = Annotated[float, Field(ge=0, le=7 * 86_400)]
Pixels = Annotated[float, Field(ge=-65_536, le=65_536)]
Length = Annotated[float, Field(gt=0, le=65_536)]
Opacity = Annotated[float, Field(ge=0, le=1)]
Color = Annotated[str, AfterValidator(_checked_color)]
EvenSide = Annotated[int, Field(ge=16, le=MAX_SIDE, multiple_of=2)]
Background = Annotated[str, AfterValidator(_checked_background)]
TrackNumber = Annotated[int, Field(ge=0, le=10_000, strict=True)]
Key = Annotated[str, AfterValidator(validate_key)]


class StrictModel(BaseModel):
    """Every model here refuses what it does not know, and numbers that are none."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, defer_build=True
    )


class ExportType(StrEnum):
    """The three kinds of export."""

    FRAMING = "framing"
    OVERLAY = "overlay"
    ANNOTATE = "annotate"


class Quality(StrEnum):
    """Measured encoder settings, from fast and small to slow and good."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class Codec(StrEnum):
    """Video codecs that an export can be encoded in."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"


class Span(StrictModel):
    """A stretch of the source, in seconds; `end` lies after `start`."""

    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end <= self.start:
            raise ValueError("`end` must be after `start`")
        return self


class AudioTrack(StrictModel):
    """One sound track, by its number in the file, counted from 0."""

    track: TrackNumber


class AudioMix(StrictModel):
    """Several sound tracks at once, each as loud as it is."""

    mix: Annotated[list[TrackNumber], Field(min_length=1, max_length=MAX_MIXED_TRACKS)]


class Common(StrictModel):
    """Fields that every export has.

    `audio` says which sound tracks are heard; by default the film's own. `background` is seen where a picture does not
    reach, and through what is transparent in it.

    `parallelism` is how many pieces of the output may be made at once: fewer if they would be shorter than two
    seconds, or on one machine more than two for each of its cores.
    """

    input_key: Key
    output_key: Key | None = None
    fps: Annotated[float, Field(ge=1, le=240)] | None = None
    include_audio: bool = True
    audio: AudioTrack | AudioMix | Literal["all"] | None = None
    background: Background = "black"
    quality: Quality = Quality.STANDARD
    codec: Codec = Codec.H264
    parallelism: Annotated[int, Field(ge=1, le=32)] = 1

    @property
    def input_keys(self) -> list[str]:
        """Every source that the export reads, each once, in the order of first use."""
        return [self.input_key]

    @model_validator(mode="after")
    def _writes_beside_its_sources(self) -> Self:
        if self.output_key in self.input_keys:
            raise ValueError("`output_key` must differ from the keys that the export reads")
        return self


class CropKeyframe(StrictModel):
    """Where the crop is at a time, in pixels."""

    time: Seconds
    x: Pixels
    y: Pixels
    width: Length
    height: Length


class SpeedSegment(Span):
    """A stretch of the source played at another speed: 0.5 is slow motion, 2 is twice as fast."""

    speed: Annotated[float, Field(ge=0.1, le=8)]


def _rising(times: list[float], what: str) -> None:
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise ValueError(f"{what} must come in rising order of time")


class FramingConfig(Common):
    """Crop, follow, scale."""

    keyframes: Annotated[list[CropKeyframe], Field(min_length=1, max_length=MAX_KEYFRAMES)]
    output_width: EvenSide | None = None
    output_height: EvenSide | None = None
    trim: Span | None = None
    segments: Annotated[list[SpeedSegment], Field(max_length=500)] = []
    rotation: Annotated[float, Field(ge=-180, le=180)] = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _rising([keyframe.time for keyframe in self.keyframes], "keyframes")
        for earlier, later in itertools.pairwise(self.segments):
            if later.start < earlier.end:
                raise ValueError("segments must come in order and must not overlap")
        return self


class EllipseKeyframe(StrictModel):
    """Where the ellipse is at a time: centre and radii in pixels."""

    time: Seconds
    x: Pixels
    y: Pixels
    radius_x: Annotated[Length, Field(alias="radiusX")]
    radius_y: Annotated[Length, Field(alias="radiusY")]
    stroke_opacity: Annotated[Opacity | None, Field(alias="strokeOpacity")] = None
    fill_opacity: Annotated[Opacity | None, Field(alias="fillOpacity")] = None
    color: Color | None = None


class HighlightRegion(StrictModel):
    """An ellipse that is shown from `start_time` to `end_time`, drawn on a video of the given size."""

    start_time: Seconds
    end_time: Seconds
    enabled: bool = True
    color: Color | None = None
    keyframes: Annotated[list[EllipseKeyframe], Field(min_length=1, max_length=MAX_KEYFRAMES)]
    video_width: Annotated[Length | None, Field(alias="videoWidth")] = None
    video_height: Annotated[Length | None, Field(alias="videoHeight")] = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end_time <= self.start_time:
            raise ValueError("`end_time` must be after `start_time`")
        _rising([keyframe.time for keyframe in self.keyframes], "keyframes")
        return self


class EffectType(StrEnum):
    """What the overlay does around or inside the ellipse."""

    DARK_OVERLAY = "dark_overlay"
    BRIGHTNESS_BOOST = "brightness_boost"
    ORIGINAL = "original"


class OverlaySettings(StrictModel):
    """How the ellipse looks; `stroke_width` in pixels at 1080 lines, `fade` in seconds."""

    shape: Literal["body", "ground"] = "body"
    dim_strength: Opacity = 0.20
    fill_enabled: bool = False
    fill_opacity: Opacity = 0.20
    stroke_width: Annotated[float, Field(ge=0, le=100)] = 2.0
    fade: Annotated[float, Field(ge=0, le=10)] = 0.25


def _hyphenated(name: object) -> object:
    return name.replace("_", "-").replace(" ", "-") if isinstance(name, str) else name


Anchor = Annotated[
    Literal[
        "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
    ],
    BeforeValidator(_hyphenated),
]
"""Which point of a text is meant by its place."""


class TextOutline(StrictModel):
    """A line around the letters, `width` pixels wide."""

    width: Annotated[float, Field(ge=0, le=100)]
    color: Color = "#000000"


class TextBox(StrictModel):
    """A rectangle behind a text, `padding` pixels larger on every side."""

    color: Color = "#000000"
    opacity: Opacity = 0.6
    padding: Annotated[float, Field(ge=0, le=1_000)] = 8.0


class TextLayer(StrictModel):
    """A text for a while; `size` in pixels, `x` and `y` where its `anchor` is.

    It is broken into lines `max_width` pixels wide, or that fit into the picture. Without an outline and a box it has
    an outline in black or white, whichever its color stands out from.
    """

    text: Annotated[str, Field(min_length=1, max_length=1_000)]
    start_time: Seconds
    end_time: Seconds
    x: Pixels
    y: Pixels
    size: Annotated[float, Field(ge=4, le=1_000)] = 48.0
    color: Color = "#ffffff"
    align: Literal["left", "center", "right"] | None = None
    anchor: Anchor = "top-left"
    max_width: Length | None = None
    outline: TextOutline | None = None
    box: TextBox | None = None

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end_time <= self.start_time:
            raise ValueError("`end_time` must be after `start_time`")
        return self


class OverlayConfig(Common):
    """Draw the eye to a player."""

    highlight_regions: Annotated[list[HighlightRegion], Field(max_length=MAX_REGIONS)] = []
    effect_type: EffectType = EffectType.DARK_OVERLAY
    overlay_settings: OverlaySettings = OverlaySettings()
    text_layers: Annotated[list[TextLayer], Field(max_length=500)] = []


class Clip(StrictModel):
    """A stretch of a source, its label, and the source when it is not the export's own."""

    start_time: Seconds
    end_time: Seconds
    name: Annotated[str, Field(max_length=500)]
    notes: Annotated[str, Field(max_length=5_000)] = ""
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    tags: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=50)] = []
    input_key: Key | None = None

    @model_validator(mode="after")
    def _runs_forward(self) -> Self:
        if self.end_time <= self.start_time:
            raise ValueError("`end_time` must be after `start_time`")
        return self


class Transition(StrictModel):
    """How one clip gives way to the next; a cut takes no time."""

    type: Literal["cut", "fade", "dissolve"] = "cut"
    duration: Annotated[float, Field(ge=0, le=5)] = 0.5


class AnnotateConfig(Common):
    """Cut clips, label them, join them."""

    clips: Annotated[list[Clip], Field(min_length=1, max_length=MAX_CLIPS)]
    transition: Transition = Transition()
    show_labels: bool = True

    @property
    def input_keys(self) -> list[str]:
        return list(dict.fromkeys(clip.input_key or self.input_key for clip in self.clips))


ExportConfig = FramingConfig | OverlayConfig | AnnotateConfig

CONFIG_MODELS: dict[ExportType, type[ExportConfig]] = {
    ExportType.FRAMING: FramingConfig,
    ExportType.OVERLAY: OverlayConfig,
    ExportType.ANNOTATE: AnnotateConfig,
}
_CONFIGS: dict[ExportType, TypeAdapter[ExportConfig]] = {
    export_type: TypeAdapter(model) for export_type, model in CONFIG_MODELS.items()
}


def parse_config(export_type: ExportType, raw: object) -> ExportConfig:
    """Read a configuration by its type; `pydantic.ValidationError` says where it is wrong."""
    return _CONFIGS[export_type].validate_python(raw)


class LocalFile(StrictModel):
    """A file on the machine that the attempt runs on."""

    path: str


class RemoteObject(StrictModel):
    """An object read through a presigned GET, by range where the server allows it."""

    url: Annotated[str, Field(repr=False)]


class RemoteUpload(StrictModel):
    """An output sent in parts, to presigned URLs that are asked for at `url` once its size is known.

    The requests are signed with the attempt's own key (base64). So a spec stays small whatever the output's size,
    no URL expires while the attempt waits for its turn, and an attempt that is over gets none.
    """

    url: str
    key: Annotated[str, Field(repr=False)]
    attempt: Annotated[int, Field(ge=1)]


class Transfer(StrictModel):
    """Where the sources are read, by key, and where the output goes."""

    sources: dict[str, LocalFile | RemoteObject]
    output: LocalFile | RemoteUpload


class CallbackTarget(StrictModel):
    """Where callbacks go, and the attempt's own key (base64)."""

    url: str
    key: str


class AttemptSpec(StrictModel):
    """Everything that one attempt needs, and nothing else."""

    job_id: str
    attempt: Annotated[int, Field(ge=1)]
    call_id: str
    type: ExportType
    config: ExportConfig
    transfer: Transfer
    callback: CallbackTarget | None = None
    deadline_seconds: Annotated[float, Field(gt=0)] = 3_600.0

    @model_validator(mode="before")
    @classmethod
    def _config_by_type(cls, raw: object) -> object:
        if isinstance(raw, dict) and isinstance(raw.get("config"), dict) and "type" in raw:
            return raw | {"config": parse_config(ExportType(raw["type"]), raw["config"])}
        return raw
