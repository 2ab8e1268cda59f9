"""What an export would take and become."""

import msgspec


class Quantiles(msgspec.Struct, frozen=True):
    """What half (`p50`) and nine of ten (`p90`) exports of this kind take at most; None is not known yet."""

    p50: float | None = None
    p90: float | None = None


class EstimatedOutput(msgspec.Struct, frozen=True):
    """The file of an export: size in pixels, duration in seconds, and about its size in bytes."""

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    size: int | None = None


class AudioTrack(msgspec.Struct, frozen=True):
    """An audio track by its number in the file; `chosen` are the ones that the export uses."""

    track: int
    codec: str
    channels: int | None = None
    sample_rate: int | None = None
    language: str | None = None
    title: str | None = None
    default: bool = False
    readable: bool = True
    chosen: bool = False


class DescribedTrack(msgspec.Struct, frozen=True):
    """An audio track of a file that is not uploaded; without a `sample_rate` it can't be decoded."""

    codec: str
    channels: int | None = None
    sample_rate: int | None = 48_000


class DescribedSource(msgspec.Struct, frozen=True, kw_only=True):
    """A video that is not uploaded: seconds, pixels as displayed, and bytes; audio tracks in the order of the file."""

    duration: float
    width: int
    height: int
    fps: float
    variable_fps: bool = False
    codec: str
    size: int
    audio_tracks: tuple[DescribedTrack, ...] = ()


class EstimatedSource(msgspec.Struct, frozen=True):
    """The first source of an export, as a probe describes it."""

    duration: float
    width: int
    height: int
    fps: float
    audio_tracks: tuple[AudioTrack, ...] = ()


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What an export would take, in seconds and US dollars, and what it would become."""

    seconds: Quantiles
    gpu_seconds: float | None = None
    cost_usd: Quantiles
    output: EstimatedOutput
    source: EstimatedSource
