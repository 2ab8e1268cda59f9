"""What an export is as work: how many pixels it reads and writes, and in which way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec

from gpu.config import ExportConfig, Span, VideoConfig
from gpu.errors import ExportError
from gpu.export_types.annotate import AnnotateConfig
from gpu.export_types.framing import FramingConfig, output_size
from gpu.export_types.overlay import OverlayConfig
from gpu.media.timeline import SpeedSpan, resolve_trim, split_by_speed

COPY = "copy"
"""Stands for codec and quality where the output may be a copy of its source."""
FILE = "file"
"""Stands for codec and quality where the export type writes the file itself."""


class SourceFacts(msgspec.Struct, frozen=True):
    """What the work depends on in a source: seconds, pixels as displayed, frames per second, and the codec."""

    duration: float
    width: int
    height: int
    fps: float
    codec: str

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self | None:
        """Return the facts of a `SourceDescription`; None if it does not say them all."""
        try:
            tracks = description["picture_tracks"]
            codec = next(track["codec"] for track in tracks if track["chosen"])
            size = description["width"], description["height"]
            return cls(description["duration"], *size, description["fps"], codec)
        except (KeyError, StopIteration):
            return None


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """An export as work for a runner; `runner` names its GPU too, if it has one.

    Megapixels are those of all frames together: the frames read of the sources, and the frames written.
    """

    type: str
    runner: str
    codec: str
    quality: str
    source_codec: str
    parallelism: int
    source_megapixels: float
    output_megapixels: float


def name_runner(name: str, gpu: str | None) -> str:
    """Return the name under which the rates of a runner are learned."""
    return f"{name}/{gpu}" if gpu else name


def describe_work(
    type_name: str, config: ExportConfig, sources: Mapping[str, SourceFacts], *, runner: str
) -> Work | None:
    """Return an export as work; None if the facts of a source are missing, or if the config does not fit them.

    Frames of sources with a variable rate are counted by the average rate.
    """
    try:
        parts = [_Part(sources[key], spans) for key, spans in _list_spans(config, sources)]
    except (KeyError, ExportError):
        return None
    first = parts[0].source
    seconds = sum(part.output_seconds for part in parts)
    rate = (config.fps if isinstance(config, VideoConfig) else None) or first.fps
    width, height = _find_output_size(config, first)
    codec, quality = _name_encoding(config, first)
    return Work(
        type=type_name,
        runner=runner,
        codec=codec,
        quality=quality,
        source_codec=first.codec,
        parallelism=config.parallelism if isinstance(config, VideoConfig) else 1,
        source_megapixels=sum(part.megapixels for part in parts),
        output_megapixels=seconds * rate * width * height / 1e6,
    )


class _Part(msgspec.Struct, frozen=True):
    """What an export reads of a source."""

    source: SourceFacts
    spans: Sequence[SpeedSpan]

    @property
    def output_seconds(self) -> float:
        return sum(span.output_seconds for span in self.spans)

    @property
    def megapixels(self) -> float:
        seconds = sum(span.end - span.start for span in self.spans)
        return seconds * self.source.fps * self.source.width * self.source.height / 1e6


def _list_spans(
    config: ExportConfig, sources: Mapping[str, SourceFacts]
) -> Iterator[tuple[str, Sequence[SpeedSpan]]]:
    """Yield the keys of the sources and what is read of each. Raises ExportError if a clip is outside of its source."""
    if isinstance(config, AnnotateConfig):
        for clip in config.clips:
            key = clip.input_key or config.input_key
            span = Span(start=clip.start_time, end=clip.end_time)
            yield key, (SpeedSpan(*resolve_trim(0.0, sources[key].duration, span)),)
        return
    duration = sources[config.input_key].duration
    trim, segments = (config.trim, config.segments) if isinstance(config, FramingConfig) else (None, [])
    yield config.input_key, split_by_speed(*resolve_trim(0.0, duration, trim), segments)


def _find_output_size(config: ExportConfig, source: SourceFacts) -> tuple[int, int]:
    return output_size(config) if isinstance(config, FramingConfig) else (source.width, source.height)


def _name_encoding(config: ExportConfig, source: SourceFacts) -> tuple[str, str]:
    if not isinstance(config, VideoConfig):
        return FILE, FILE
    if isinstance(config, OverlayConfig) and _may_copy(config, source):
        return COPY, COPY
    return config.codec.value, config.quality.value


def _may_copy(config: OverlayConfig, source: SourceFacts) -> bool:
    is_plain = not config.text_layers and not any(region.enabled for region in config.highlight_regions)
    return is_plain and config.fps is None and config.codec == source.codec
