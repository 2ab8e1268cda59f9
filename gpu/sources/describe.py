"""`python -m gpu.sources.describe`: describe a source in a process of its own.

Its request is `{"path"}` or `{"url"}`.
"""

import sys
from typing import TYPE_CHECKING

from av.stream import Disposition

from gpu.sources.container import open_container
from gpu.sources.description import PictureTrack, SoundTrack, SourceDescription
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.probe_process import SOURCE, open_request, run_process
from gpu.sources.source import Source, probe

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation


def main() -> int:
    """Describe one source; return the exit status of the process."""
    return run_process(SOURCE, lambda request: describe_source(open_request(request)))


def describe_source(location: "SourceLocation") -> SourceDescription:
    """Describe a source's video, its length and its tracks.

    Raises ExportError, as an export of the source would.
    """
    return describe(probe(location))


def describe(source: Source) -> SourceDescription:
    """Describe a probed source."""
    return {
        "duration": round(source.duration, 3),
        "width": source.width,
        "height": source.height,
        "fps": round(float(source.rate), 3),
        "variable_fps": source.variable,
        "picture_tracks": _describe_video_tracks(source),
        "audio_tracks": _describe_audio_tracks(source),
    }


def _describe_audio_tracks(source: Source) -> list[SoundTrack]:
    """Describe each audio track; those of `source.audio` are chosen."""
    return [
        {
            "track": track.number,
            "codec": track.codec,
            "channels": track.channels,
            "sample_rate": track.sample_rate,
            "language": track.language,
            "title": track.title,
            "default": track.default,
            "readable": track.sample_rate is not None,
            "chosen": source.audio is not None and track.index in source.audio.indexes,
        }
        for track in source.tracks
    ]


def _describe_video_tracks(source: Source) -> list[PictureTrack]:
    """Describe each video track; sizes are those of the coded picture, before rotation."""
    with open_container(source.path) as container:
        codecs = read_listing(container).codecs
        return [
            {
                "track": number,
                "codec": codecs.get(stream.index, "unknown"),
                "width": getattr(stream, "width", None),
                "height": getattr(stream, "height", None),
                "default": bool(stream.disposition & Disposition.default),
                "cover": bool(stream.disposition & Disposition.attached_pic),
                "chosen": stream.index == source.video,
            }
            for number, stream in enumerate(container.streams.video)
        ]


if __name__ == "__main__":
    sys.exit(main())
