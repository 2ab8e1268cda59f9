"""Probe a source before an export: open it safely, check limits, decode one frame."""

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
    UNREADABLE,
    demux_stream,
    has_decoder,
    list_decodable_video,
    open_to_probe,
    prepare_video_stream,
    read_all_packets,
    read_video_packets,
)
from gpu.sources.decoders import Decoder
from gpu.sources.discontinuities import Scan, describe_breaks
from gpu.sources.duration import find_duration, find_origin
from gpu.sources.ffmpeg_listing import Listing, read_listing
from gpu.sources.file_kinds import source_unsupported
from gpu.sources.frame_rate import detect_frame_rate, rate_from_durations
from gpu.sources.late_audio import describe_late_tracks
from gpu.sources.limits import check_duration, check_size
from gpu.sources.scan import scan_file
from gpu.sources.tracks import Track, TrackMix, list_tracks, rank_audio, select_video_stream

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

_MAX_ERRORS = 25
# A recording may begin inside a group of pictures: no packet before the next keyframe can be decoded.
_MAX_ERRORS_BEFORE_FIRST = 5_000
# Encoders and muxers let audio begin this much before the video: the first frame need not be shown longer for it.
_LEAD_IN_SECONDS = 0.1
# How much of a stream is read before it is decoded.
_HEAD_PACKETS, _HEAD_BYTES = 60, 16 * 1024 * 1024
UNDECODABLE = "The source's video could not be decoded; the file may be damaged."


@dataclass(frozen=True)
class Source:
    """A video that an export reads.

    `video` is the index of the video stream. `width` and `height` are those of the upright picture with square pixels.
    `duration` is the video's, in seconds from the source's start; `origin` is that start on the container's clock, and
    `first_frame_time` is in seconds after it. `rate` is in frames per second, an average if it is `variable`.
    `background` is the colour where there is no picture. `tracks` are the audio tracks, `audio` the selected ones, and
    `audio_candidates` all that could be selected, best first. `notes` are sentences for the job's timeline. A file that
    is not here has `absent_bytes`: it can be planned, not read.
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
    absent_bytes: int | None = None

    @property
    def export_start(self) -> float:
        """When an export of the whole source begins.

        It begins with the video, unless audio begins long before.
        """
        has_lead_in = 0 < self.first_frame_time <= min(_LEAD_IN_SECONDS, self.duration / 2)
        return self.first_frame_time if has_lead_in else 0.0

    @property
    def is_seekable(self) -> bool:
        """Whether pictures have the same times after a seek as without one."""
        return not self.timing.untimed and (self.scan is None or self.scan.seekable)


def probe(path: "SourceLocation", scan: Scan | None = None) -> Source:
    """Probe a source; `scan` is the result of an earlier probe of the same file.

    Raises ExportError: source_unreadable, no_video_stream, source_too_large, decode_failed.
    """
    with open_to_probe(path) as container, map_errors("source_unreadable", UNREADABLE):
        # This comes before any decoding: the listing switches FFmpeg's log on, and a decoder's thread that writes to it
        # would wait for this thread, which waits for that one when it closes the decoder (a deadlock).
        listing = read_listing(container)
        stream = _select_stream(container, path)
        check_size(stream.width, stream.height)
        return _read_source(path, container, stream, listing, scan)


def _read_source(
    path: "SourceLocation",
    container: InputContainer,
    stream: VideoStream,
    listing: Listing,
    scan: Scan | None,
) -> Source:
    origin = find_origin(container, stream)
    head = list(_read_head(demux_stream(container, stream)))
    timing = examine_times(container, stream, head)
    if scan is None and not timing.untimed:
        scan = scan_file(path, container, stream.index)
    duration = find_duration(path, container, stream, timing, scan)
    check_duration(duration)
    rate, variable = _detect_rate(path, stream, head, timing, scan)
    first = decode_first_frame(container, stream, head)
    width, height = display_size(first, stream.sample_aspect_ratio)
    tracks = describe_late_tracks(path, list_tracks(container, listing))
    audio_candidates = rank_audio(container, tracks, listing.find_programme(stream.index))
    return Source(
        path=path,
        video=stream.index,
        audio=audio_candidates[0] if audio_candidates else None,
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
        audio_candidates=audio_candidates,
        notes=describe_breaks(scan),
        timing=timing,
        scan=scan,
    )


def _detect_rate(
    path: "SourceLocation",
    stream: VideoStream,
    head: "list[Packet[VideoStream]]",
    timing: Timing,
    scan: Scan | None,
) -> tuple[Fraction, bool]:
    """Return the frame rate, and whether it varies."""
    rate = rate_from_durations(stream, _decodable_head(path, stream, head, timing), timing)
    if rate:
        return rate, False
    with closing(read_video_packets(path, stream.index, scan)) as packets_again:
        return detect_frame_rate(stream, packets_again)


def decode_video(container: InputContainer, stream: VideoStream, source: Source) -> Iterator[VideoFrame]:
    """Decode every frame from the container's position; a few damaged packets are skipped.

    Raises ExportError: decode_failed, if there are many.
    """
    return _decode(time_packets(demux_stream(container, stream, source.scan), source.timing))


def _decode(packets: "Iterator[Packet[VideoStream]]") -> Iterator[VideoFrame]:
    decoder = Decoder()
    errors = frames = 0
    for packet in packets:
        try:
            for frame in decoder.decode(packet):
                check_size(frame.width, frame.height)
                frames += 1
                yield frame
        except av.FFmpegError as error:
            errors += 1
            if errors > (_MAX_ERRORS + frames // 10 if frames else _MAX_ERRORS_BEFORE_FIRST):
                raise ExportError("decode_failed", UNDECODABLE) from error


def _read_head(packets: "Iterator[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
    """Yield the first packets of a stream, up to limits of count and size."""
    size = 0
    for packet in islice(packets, _HEAD_PACKETS):
        yield packet
        size += packet.size
        if size > _HEAD_BYTES:
            return


def _decodable_head(
    path: "SourceLocation", stream: VideoStream, head: "list[Packet[VideoStream]]", timing: Timing
) -> "list[Packet[VideoStream]]":
    """Return the first decodable packets; a raw stream has its frame rate only in a keyframe."""
    if not timing.untimed or any(packet.is_keyframe for packet in head[:1]):
        return head
    with closing(read_video_packets(path, stream.index, None)) as packets_again:
        return list(_read_head(dropwhile(lambda packet: not packet.is_keyframe, packets_again))) or head


def _select_stream(container: InputContainer, path: "SourceLocation") -> VideoStream:
    """Return the main video stream, configured for decoding."""
    with closing(read_all_packets(path)) as packets_again:
        stream = select_video_stream(container, packets_again)
    if stream is None and list_decodable_video(container):
        message = "The source's video could not be decoded: it has no keyframe."
        raise ExportError("decode_failed", message)
    if stream is None and any(not has_decoder(stream) for stream in container.streams.video):
        raise source_unsupported("The source's video codec is not supported.")
    if stream is None:
        raise ExportError("no_video_stream", "The source has no video.")
    return prepare_video_stream(container, stream.index)


def decode_first_frame(
    container: InputContainer, stream: VideoStream, head: "Iterable[Packet[VideoStream]]" = ()
) -> VideoFrame:
    """Return the first frame from the container's position; `head` are packets already read."""
    first = next(_decode(chain(head, demux_stream(container, stream))), None)
    if first is None:
        raise ExportError("decode_failed", UNDECODABLE)
    return first
