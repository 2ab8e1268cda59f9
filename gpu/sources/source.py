"""What a source is, found out before anything is spent on it: opened safely, bounds checked, a frame decoded."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, dropwhile, islice
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gpu.errors import ExportError, map_errors
from gpu.media.color import BLACK
from gpu.media.frame_format import display_size
from gpu.media.timestamps import Timing, examine_times, time_packets
from gpu.sources.container import (
    MAX_FRAME_PIXELS,
    UNREADABLE,
    demux_stream,
    has_decoder,
    list_decodable_pictures,
    open_to_probe,
    prepare_video_stream,
    read_all_packets,
    read_picture_packets,
)
from gpu.sources.decoders import Decoder
from gpu.sources.discontinuities import Scan, describe_breaks
from gpu.sources.duration import find_duration, find_origin
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.file_kinds import unsupported_error
from gpu.sources.frame_rate import detect_frame_rate, rate_from_durations
from gpu.sources.late_audio import describe_late_tracks
from gpu.sources.scan import scan_file
from gpu.sources.tracks import Track, TrackMix, list_tracks, rank_audio, select_video_stream

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

MAX_SIDE = 16_384
MAX_DURATION_SECONDS = 24 * 3_600.0
_TOLERATED_ERRORS = 25
# A recording may begin amid a group of pictures: none of its packets can be decoded before the next keyframe.
_TOLERATED_BEFORE_FIRST = 5_000
# By so much encoders and multiplexers let the sound begin before the picture: no reason to show its first frame longer.
_LEAD_IN_SECONDS = 0.1
# What is looked at of a stream before it is decoded.
_OPENING_PACKETS, _OPENING_BYTES = 60, 16 * 1024 * 1024


UNDECODABLE = "The source's picture could not be decoded; the file may be damaged."


@dataclass(frozen=True)
class Source:
    """A video that an export reads.

    `width` and `height` are those of the upright picture with square pixels; `duration` is the picture's, in seconds
    from the source's start; `origin` is that start on the container's clock, `begins` when the picture's first frame is
    shown, in seconds after it; `rate` is frames a second, on average
    where it is `variable`; `background` is what is seen where there is no picture. `audio` is what is heard of its
    sound `tracks`, and `sounds` is what might be, best first; `notes` are sentences for the timeline.
    """

    path: "SourceLocation"
    video: int
    audio: TrackMix | None
    width: int
    height: int
    duration: float
    origin: float
    first_frame_time: float
    rate: Fraction
    variable: bool
    codec: str
    pixel_format: str
    background: str = BLACK
    tracks: tuple[Track, ...] = ()
    audio_candidates: tuple[TrackMix, ...] = ()
    notes: tuple[str, ...] = ()
    timing: Timing = field(default_factory=Timing)
    scan: Scan | None = None

    @property
    def film_start(self) -> float:
        """When an export of all of it begins: with the picture, unless the sound begins long before."""
        return (
            self.first_frame_time
            if 0 < self.first_frame_time <= min(_LEAD_IN_SECONDS, self.duration / 2)
            else 0.0
        )

    @property
    def is_seekable(self) -> bool:
        """Whether pictures have the same times after a seek as when they are read from the beginning."""
        return not self.timing.untimed and (self.scan is None or self.scan.seekable)


def probe(path: "SourceLocation", scan: Scan | None = None) -> Source:
    """Look at a source; `scan` is what an earlier look at the same file found.

    Raises ExportError: source_unreadable, no_video_stream, source_too_large, decode_failed.
    """
    with open_to_probe(path) as container, map_errors("source_unreadable", UNREADABLE):
        # Before anything is decoded: the listing turns FFmpeg's log on, and a decoder's thread that writes to it waits
        # for this one, which waits for that thread when the decoder is closed.
        listing = read_listing(container)
        stream = _picture_stream(container, path)
        _check_size(stream.width, stream.height)
        origin = find_origin(container, stream)
        opening = list(_opening(demux_stream(container, stream)))
        timing = examine_times(container, stream, opening)
        if scan is None and not timing.untimed:
            scan = scan_file(path, container, stream.index)
        duration = find_duration(path, container, stream, timing, scan)
        if duration > MAX_DURATION_SECONDS:
            raise ExportError("source_too_large", "The source is longer than 24 hours.")
        counted = rate_from_durations(stream, _decodable(path, stream, opening, timing), timing)
        with closing(read_picture_packets(path, stream.index, scan)) as anew:
            rate, variable = (counted, False) if counted else detect_frame_rate(stream, anew)
        first = decode_first_frame(container, stream, opening)
        width, height = display_size(first, stream.sample_aspect_ratio)
        tracks = describe_late_tracks(path, list_tracks(container, listing))
        sounds = rank_audio(container, tracks, listing.find_programme(stream.index))
        return Source(
            path=path,
            video=stream.index,
            audio=sounds[0] if sounds else None,
            width=width,
            height=height,
            duration=duration,
            origin=origin,
            first_frame_time=float((stream.start_time or 0) * (stream.time_base or 0)) - origin,
            rate=rate,
            variable=variable,
            codec=stream.codec_context.name,
            pixel_format=first.format.name,
            tracks=tracks,
            audio_candidates=sounds,
            notes=describe_breaks(scan),
            timing=timing,
            scan=scan,
        )


def decode_video(container: InputContainer, stream: VideoStream, source: Source) -> Iterator[VideoFrame]:
    """Every frame from where the container stands; a few damaged packets are passed over, many are decode_failed."""
    return _decode(time_packets(demux_stream(container, stream, source.scan), source.timing))


def _decode(found: "Iterator[Packet[VideoStream]]") -> Iterator[VideoFrame]:
    decoder = Decoder()
    errors = frames = 0
    for packet in found:
        try:
            for frame in decoder.decode(packet):
                _check_size(frame.width, frame.height)
                frames += 1
                yield frame
        except av.FFmpegError as error:
            errors += 1
            if errors > (_TOLERATED_ERRORS + frames // 10 if frames else _TOLERATED_BEFORE_FIRST):
                raise ExportError("decode_failed", UNDECODABLE) from error


def _opening(found: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """The first packets of a stream, within bounds."""
    size = 0
    for packet in islice(found, _OPENING_PACKETS):
        yield packet
        size += packet.size
        if size > _OPENING_BYTES:
            return


def _decodable(
    path: "SourceLocation", stream: VideoStream, opening: "list[Packet[VideoStream]]", timing: Timing
) -> "list[Packet[VideoStream]]":
    """The first packets that can be decoded: a bare stream tells its rate only in a keyframe."""
    if not timing.untimed or any(packet.is_keyframe for packet in opening[:1]):
        return opening
    with closing(read_picture_packets(path, stream.index, None)) as anew:
        return list(_opening(dropwhile(lambda packet: not packet.is_keyframe, anew))) or opening


def _picture_stream(container: InputContainer, path: "SourceLocation") -> VideoStream:
    """The stream that is the film, set up to be decoded."""
    with closing(read_all_packets(path)) as anew:
        stream = select_video_stream(container, anew)
    if stream is None and list_decodable_pictures(container):
        message = "The source has video in it, but no picture that can be decoded: it has no keyframe."
        raise ExportError("decode_failed", message)
    if stream is None and any(not has_decoder(stream) for stream in container.streams.video):
        raise unsupported_error("The source's video is coded in a way that can't be decoded.")
    if stream is None:
        raise ExportError("no_video_stream", "The source has no video in it.")
    return prepare_video_stream(container, stream.index)


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    if max(width, height) > MAX_SIDE or width * height > MAX_FRAME_PIXELS:
        raise ExportError("source_too_large", "The source's picture is too large.")


def decode_first_frame(
    container: InputContainer, stream: VideoStream, opening: "Iterable[Packet[VideoStream]]" = ()
) -> VideoFrame:
    """The first frame from where the container stands, after the packets that were read already."""
    first = next(_decode(chain(opening, demux_stream(container, stream))), None)
    if first is None:
        raise ExportError("decode_failed", UNDECODABLE)
    return first
