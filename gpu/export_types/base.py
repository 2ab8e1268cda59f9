"""What an export type is: a name, a config model, a plan function and the format of its output."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu.config import ExportConfig

if TYPE_CHECKING:  # these import PyAV, which a check of a configuration does not need
    from gpu.media.encode import Render
    from gpu.media.passthrough import PassthroughSource
    from gpu.sources.source import Source

VIDEO_CONTENT_TYPE = "video/mp4"


@dataclass(frozen=True, kw_only=True)
class FileOutput:
    """The plan of an output that its export type writes itself, such as an image.

    `write(path)` writes the file and yields the fraction done (0 to 1) after each step; closing the generator stops
    it. `width` and `height` are in pixels, 0 for an output without a picture; `duration` is in seconds. `size` is
    about how many bytes it will have, if that is known. `message` is what the user reads while it is written; `notes`
    are sentences for the timeline.
    """

    write: Callable[[Path], Generator[float, None, None]]
    width: int = 0
    height: int = 0
    duration: float = 0.0
    size: int | None = None
    message: str = "Writing the export"
    notes: tuple[str, ...] = ()


PlanFunction = Callable[[Any, "Mapping[str, Source]"], "Render | PassthroughSource | FileOutput"]


@dataclass(frozen=True, kw_only=True)
class ExportType:
    """One kind of export, as the registry finds it.

    `name` is the value of `type` in the API. `description` is one sentence for people. `config` is the model of
    `config`: a subclass of VideoConfig if the output is a video. `plan(config, sources)` checks the configuration
    against the probed sources, by key, before anything is decoded, raising ExportError, and returns

    - a Render, which the pipeline encodes as an MP4, in chunks and on a GPU where it can;
    - a PassthroughSource, if the output is its source unchanged;
    - a FileOutput, if the export type writes the file itself.

    `content_type` and `suffix` (with its dot) are those of the output. The service decodes an `image/…` and probes an
    MP4 before it publishes them; any other output has to begin with the bytes `magic`, if there are any.

    The module is imported by the service and the CLI, too, for the configuration alone: import what decodes, draws or
    encodes inside `plan`.
    """

    name: str
    description: str
    config: type[ExportConfig]
    plan: PlanFunction
    content_type: str = VIDEO_CONTENT_TYPE
    suffix: str = ".mp4"
    magic: bytes = b""

    @property
    def is_video(self) -> bool:
        """Whether the output is an MP4 that the pipeline writes."""
        return self.content_type == VIDEO_CONTENT_TYPE

    @property
    def is_image(self) -> bool:
        """Whether the output is an image that Pillow decodes."""
        return self.content_type.startswith("image/")
