"""An estimate as JSON: what the process of an estimate returns."""

from typing import TypedDict

from gpu.sources.description import SoundTrack, SourceDescription


class EstimatedOutput(TypedDict):
    """The file of an export: size in pixels, duration in seconds, size in bytes; null is what its type does not say."""

    width: int | None
    height: int | None
    duration: float | None
    size: int | None


class EstimatedSource(TypedDict):
    """A source of an export: duration in seconds, size in pixels as displayed, and its audio tracks."""

    duration: float
    width: int
    height: int
    fps: float
    audio_tracks: list[SoundTrack]


class PlannedExport(TypedDict):
    """An export that fits its sources; `source` is the first of `sources`, which are described by key."""

    output: EstimatedOutput
    source: EstimatedSource
    sources: dict[str, SourceDescription]
