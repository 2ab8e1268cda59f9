"""The description of a source as JSON: what a probe returns."""

from typing import TypedDict


class PictureTrack(TypedDict):
    """A video track; its size is that of the coded picture, before rotation.

    `chosen` is the one that exports use, `cover` a still picture such as the art of an album.
    """

    track: int
    codec: str
    width: int | None
    height: int | None
    default: bool
    cover: bool
    chosen: bool


class SoundTrack(TypedDict):
    """An audio track by its number in the file; `chosen` are the ones that exports use unless `audio` names others."""

    track: int
    codec: str
    channels: int | None
    sample_rate: int | None
    language: str | None
    title: str | None
    default: bool
    readable: bool
    chosen: bool


class SourceDescription(TypedDict):
    """A source: duration in seconds, size in pixels as displayed, frames per second, and its tracks."""

    duration: float
    width: int
    height: int
    fps: float
    variable_fps: bool
    picture_tracks: list[PictureTrack]
    audio_tracks: list[SoundTrack]
