"""Find the format of audio tracks that begin after the part of a file that FFmpeg probes."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from gpu.media.channel_layouts import describe_layout, open_without_layout
from gpu.sources.container import demux_stream, open_container
from gpu.sources.tracks import Track

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation


def describe_late_tracks(path: "SourceLocation", tracks: Iterable[Track]) -> tuple[Track, ...]:
    """Complete the tracks without a known format by their first frames, if they have any."""
    return tuple(track if track.sample_rate else _describe(path, track) for track in tracks)


def _describe(path: "SourceLocation", track: Track) -> Track:
    frame = _decode_first(path, track.index)
    if frame is None:
        return track
    return replace(track, sample_rate=frame.sample_rate, channels=frame.layout.nb_channels)


def _decode_first(path: "SourceLocation", index: int) -> AudioFrame | None:
    """Return the first frame of a track that can be decoded, or None."""
    with open_container(path) as container:
        stream = container.streams[index]
        if not isinstance(stream, AudioStream) or getattr(stream, "codec_context", None) is None:
            return None
        layout = open_without_layout(stream)
        for packet in demux_stream(container, stream):
            try:
                frame = next(iter(packet.decode()), None)
            except av.FFmpegError:
                continue
            if frame is not None:
                describe_layout(frame, layout)
                return frame
    return None
