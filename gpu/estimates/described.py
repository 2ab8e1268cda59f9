"""A source of which only the description is here: planned as one that was probed."""

import os

from gpu.media.timeline import rate_from_fps
from gpu.sources.description import SoundTrack, SourceDescription
from gpu.sources.limits import check_duration, check_size
from gpu.sources.source import Source
from gpu.sources.tracks import Track, TrackMix
from gpu.spec import DescribedSource


def build_source(described: DescribedSource) -> Source:
    """Return the source of a plan, which nothing can read. Raises ExportError: source_too_large."""
    check_size(described.width, described.height)
    check_duration(described.duration)
    tracks = tuple(
        Track(
            number=number,
            index=number + 1,
            codec=track.codec,
            channels=track.channels or 0,
            sample_rate=track.sample_rate,
            language=None,
            title=None,
            default=number == 0,
        )
        for number, track in enumerate(described.audio_tracks)
    )
    readable = [track.index for track in tracks if track.sample_rate is not None]
    return Source(
        path=os.devnull,
        video=0,
        audio=TrackMix(((readable[0],),)) if readable else None,
        width=described.width,
        height=described.height,
        duration=described.duration,
        origin=0.0,
        first_frame_time=0.0,
        rate=rate_from_fps(described.fps),
        variable=described.variable_fps,
        codec=described.codec,
        pixel_format="yuv420p",
        tracks=tracks,
        absent_bytes=described.size,
    )


def describe_absent(described: DescribedSource, source: Source) -> SourceDescription:
    """Return the description that a probe would return of the file."""
    return {
        "duration": described.duration,
        "width": described.width,
        "height": described.height,
        "fps": described.fps,
        "variable_fps": described.variable_fps,
        "picture_tracks": [
            {
                "track": 0,
                "codec": described.codec,
                "width": described.width,
                "height": described.height,
                "default": True,
                "cover": False,
                "chosen": True,
            }
        ],
        "audio_tracks": [_describe_track(track, source) for track in source.tracks],
    }


def _describe_track(track: Track, source: Source) -> SoundTrack:
    return {
        "track": track.number,
        "codec": track.codec,
        "channels": track.channels or None,
        "sample_rate": track.sample_rate,
        "language": None,
        "title": None,
        "default": track.default,
        "readable": track.sample_rate is not None,
        "chosen": source.audio is not None and track.index in source.audio.indexes,
    }
