"""An export type in a package of its own: frames of a video at even intervals, side by side in one PNG."""

from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from gpu.config import ExportConfig
from gpu.export_types.base import ExportType, FileOutput

if TYPE_CHECKING:
    from PIL.Image import Image

    from gpu.sources.source import Source

MAX_SIDE = 8_192


class ThumbnailStripConfig(ExportConfig):
    """`columns` thumbnails, each `width` pixels wide."""

    columns: Annotated[int, Field(ge=1, le=50)] = 5
    width: Annotated[int, Field(ge=16, le=640)] = 160


def plan(config: ThumbnailStripConfig, sources: "Mapping[str, Source]") -> FileOutput:
    """Check that the strip is not too large. Raises ExportError: strip_too_large."""
    from gpu.errors import ExportError

    source = sources[config.input_key]
    height = max(1, round(config.width * source.height / source.width))
    if max(config.columns * config.width, height) > MAX_SIDE:
        raise ExportError("strip_too_large", f"The strip would have a side of more than {MAX_SIDE} pixels.")
    return FileOutput(
        write=lambda path: _write_strip(path, source, config, height),
        width=config.columns * config.width,
        height=height,
        message="Making the thumbnails",
    )


def _write_strip(
    path: Path, source: "Source", config: ThumbnailStripConfig, height: int
) -> Generator[float, None, None]:
    """Write the PNG, yielding the fraction done after each thumbnail."""
    from PIL.Image import new

    strip = new("RGB", (config.columns * config.width, height))
    for column in range(config.columns):
        time = (column + 0.5) / config.columns * source.duration
        strip.paste(_thumbnail(source, time, config.width, height), (column * config.width, 0))
        yield (column + 1) / config.columns
    strip.save(path, "PNG")


def _thumbnail(source: "Source", time: float, width: int, height: int) -> "Image":
    """Decode the frame that is on screen at a time in seconds, and scale it."""
    from PIL.Image import fromarray

    from gpu.media.decode import decode_frames
    from gpu.media.timeline import Clock, SpeedSpan

    first_tick = range(1)
    span = (SpeedSpan(time, source.duration),)
    with closing(decode_frames(source, span, Clock(source.rate, steady=True), first_tick)) as frames:
        pixels = next(frames).frame.to_ndarray(width=width, height=height, format="rgb24")
    return fromarray(pixels)


EXPORT_TYPE = ExportType(
    name="thumbnail_strip",
    description="Put frames of a video at even intervals side by side in one image.",
    config=ThumbnailStripConfig,
    plan=plan,
    content_type="image/png",
    suffix=".png",
    magic=b"\x89PNG\r\n\x1a\n",
)
