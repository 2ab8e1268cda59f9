"""Copy a source's packets unchanged into a new file, if they fit an output already.

The source must have everything that an output guarantees: codec, pixel format, colours, upright pictures of square
pixels, audio format. The new file contains the video and one audio track only: no tags, no other streams, and of the
coded pictures only what decoding needs, because cameras write their serial numbers into the other units.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from gpu.config import Codec, VideoConfig
from gpu.errors import ExportError, map_errors
from gpu.media.audio import CHANNELS
from gpu.media.color import is_output_ready
from gpu.media.encode import FASTSTART, Render
from gpu.media.encoders import AUDIO_CODEC, AUDIO_SAMPLE_RATE, CODEC_TAGS
from gpu.sources.container import open_container, prepare_video_stream
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.source import Source, decode_first_frame
from gpu.sources.tracks import TrackMix

_MP4 = "mov,mp4"
# What decoding needs of each codec; the rest are messages and units that manufacturers fill as they like.
_NEEDED_UNITS = {
    Codec.H264: "filter_units=pass_types=1-5|7-8",
    Codec.HEVC: "filter_units=pass_types=0-34",
    Codec.AV1: "filter_units=remove_types=5|15",
}
_NO_TAG = "\0\0\0\0"  # leaves the choice to the muxer
_ROUNDING_SECONDS = 0.002
_FAILED = "The source could not be copied."


@dataclass(frozen=True)
class PassthroughSource:
    """The plan of an export whose output is its source; `render` is the same export encoded.

    Only reading the whole source shows whether it can be copied; if it can't, `render` is encoded.
    """

    source: Source
    codec: Codec
    audio: TrackMix | None
    render: Render


def is_copyable(source: Source, config: VideoConfig) -> bool:
    """Return whether headers and first frame are those of an output of this configuration."""
    has_breaks = source.scan is not None and source.scan.breaks > 0
    if config.fps is not None or has_breaks or source.width % 2 or source.height % 2:
        return False
    if source.absent_bytes is not None:
        return False  # nothing says how its pictures are coded
    with open_container(source.path) as container:
        stream = prepare_video_stream(container, source.video)
        start_time = float((stream.start_time or 0) * (stream.time_base or 0))
        return (
            container.format.name.startswith(_MP4)
            and stream.codec.canonical_name == config.codec
            and stream.sample_aspect_ratio in {None, 0, 1}
            and abs(start_time - source.origin) <= _ROUNDING_SECONDS
            and (not config.include_audio or source.audio is None or _is_audio_ready(container, source.audio))
            and is_output_ready(decode_first_frame(container, stream), source.width, source.height)
        )


def _is_audio_ready(container: InputContainer, audio: TrackMix) -> bool:
    """Return whether the audio is a single track in the format of every export."""
    stream = container.streams[audio.indexes[0]]
    if not isinstance(stream, AudioStream) or stream.codec.canonical_name != AUDIO_CODEC:
        return False
    is_output_format = (
        len(audio.indexes) == 1 and stream.profile == "LC" and stream.sample_rate == AUDIO_SAMPLE_RATE
    )
    return is_output_format and read_listing(container).channels.get(stream.index) == CHANNELS


def copy_streams(copy: PassthroughSource, path: Path) -> Generator[float, None, None]:
    """Write the source's packets into an MP4 at `path`, yielding the fraction done.

    Raises ExportError: not_copyable, if a later picture is not one that an output may have.
    """
    source = copy.source
    with (
        map_errors("not_copyable", _FAILED),
        open_container(source.path) as container,
        av.open(f"file:{path}", "w", format="mp4", options=FASTSTART) as target,
    ):
        video = prepare_video_stream(container, source.video)
        video.codec_context.skip_frame = "NONKEY"
        tracks: dict[int, _Track] = {video.index: _VideoTrack(video, target, copy.codec)}
        if copy.audio is not None:
            tracks[copy.audio.indexes[0]] = _Track(container.streams[copy.audio.indexes[0]], target)
        for packet in container.demux([container.streams[index] for index in tracks]):
            if packet.stream is video:
                _check_packet(packet, source)
            seconds = float((packet.dts or 0) * packet.time_base) - source.origin
            if packet.size and seconds < source.duration:
                tracks[packet.stream.index].write(packet, source.origin)
            yield min(1.0, max(0.0, seconds) / source.duration)


def _check_packet(packet: "Packet[Any]", source: Source) -> None:
    """Raise if a picture has no time or is hidden, or if a keyframe needs conversion."""
    if packet.size and (packet.dts is None or packet.pts is None or packet.is_discard):
        raise ExportError("not_copyable", "The source has pictures that are hidden or have no time.")
    if not all(is_output_ready(frame, source.width, source.height) for frame in packet.decode()):
        raise ExportError("not_copyable", "The source's pictures change.")


class _Track:
    """A stream of the output."""

    def __init__(self, stream: Stream, target: OutputContainer) -> None:
        self._target = target
        self.stream = target.add_stream_from_template(stream, opaque=True)

    def write(self, packet: "Packet[Any]", origin: float) -> None:
        """Write a packet, shifted so that the source's time `origin` (in seconds) becomes 0."""
        shift = round(origin / packet.time_base)
        assert packet.pts is not None
        assert packet.dts is not None
        packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, self.stream
        self._target.mux(packet)


class _VideoTrack(_Track):
    """The video stream: only what decoding needs is written of each packet."""

    def __init__(self, stream: VideoStream, target: OutputContainer, codec: Codec) -> None:
        super().__init__(stream, target)
        self._filter = BitStreamFilterContext(_NEEDED_UNITS[codec], stream, self.stream)
        self.stream.codec_context.codec_tag = CODEC_TAGS.get(codec, _NO_TAG)

    def write(self, packet: "Packet[Any]", origin: float) -> None:
        time_base = packet.time_base
        for filtered in self._filter.filter(packet):
            filtered.time_base = time_base
            super().write(filtered, origin)
