"""What a source is, found out before anything is spent on it: opened safely, bounds checked, a frame decoded."""

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import av
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gpu.decoders import Decoder
from gpu.errors import ExportError, failing_as
from gpu.listing import read_listing
from gpu.normalize import BLACK, displayed_size
from gpu.pace import pace
from gpu.tracks import Mix, Track, choose_picture, list_tracks, rank_sounds

if TYPE_CHECKING:
    from gpu.remote import Place

MAX_SIDE = 16_384
MAX_FRAME_PIXELS = 8_192 * 8_192
MAX_DURATION_SECONDS = 24 * 3_600.0
_TOLERATED_ERRORS = 25

Kind = TypeVar("Kind", VideoStream, AudioStream)

# Playlists and image patterns would open other files, or addresses, that the source names: containers only.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,h264,hevc,obu,ivf,nut,wav,mp3"
)
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
UNREADABLE = "The source is not a video that can be read; it may be damaged or incomplete."
UNDECODABLE = "The source's picture could not be decoded; the file may be damaged."


@dataclass(frozen=True)
class Source:
    """A video that an export reads.

    `width` and `height` are those of the upright picture with square pixels; `duration` is the picture's, in seconds
    from the source's start; `origin` is that start on the container's clock; `rate` is frames a second, on average
    where it is `variable`; `background` is what is seen where there is no picture. `audio` is what is heard of its
    sound `tracks`, and `sounds` is what might be, best first; `notes` are sentences for the timeline.
    """

    path: "Place"
    video: int
    audio: Mix | None
    width: int
    height: int
    duration: float
    origin: float
    rate: Fraction
    variable: bool
    codec: str
    pixel_format: str
    background: str = BLACK
    tracks: tuple[Track, ...] = ()
    sounds: tuple[Mix, ...] = ()
    notes: tuple[str, ...] = ()


def open_container(path: "Place", decoder: HWAccel | None = None) -> InputContainer:
    """Open a source as one of the known containers; it can't make FFmpeg open anything else."""
    opened = f"file:{path}" if isinstance(path, str) else path.open()
    with failing_as("source_unreadable", UNREADABLE):
        return av.open(opened, "r", options=_OPTIONS, metadata_errors="replace", hwaccel=decoder)


def probe(path: "Place") -> Source:
    """Look at a source. Raises ExportError: source_unreadable, no_video_stream, source_too_large, decode_failed."""
    with open_container(path) as container, failing_as("source_unreadable", UNREADABLE):
        stream = _picture_stream(container, path)
        _check_size(stream.width, stream.height)
        origin = _origin(container, stream)
        duration = _duration(container, stream) or _scanned_duration(path, stream.index, origin)
        if duration > MAX_DURATION_SECONDS:
            raise ExportError("source_too_large", "The source is longer than 24 hours.")
        with closing(_packets_anew(path, stream.index)) as anew:
            rate, variable = pace(stream, anew)
        first = decode_first_frame(container, stream)
        width, height = displayed_size(first, stream.sample_aspect_ratio)
        listing = read_listing(container)
        tracks = list_tracks(container, listing)
        sounds = rank_sounds(container, tracks, listing.related(stream.index))
        return Source(
            path=path,
            video=stream.index,
            audio=sounds[0] if sounds else None,
            width=width,
            height=height,
            duration=duration,
            origin=origin,
            rate=rate,
            variable=variable,
            codec=stream.codec_context.name,
            pixel_format=first.format.name,
            tracks=tracks,
            sounds=sounds,
        )


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Every frame from where the container stands; a few damaged packets are passed over, many are decode_failed."""
    decoder = Decoder()
    errors = frames = 0
    for packet in packets(container, stream):
        try:
            for frame in decoder.decode(packet):
                _check_size(frame.width, frame.height)
                frames += 1
                yield frame
        except av.FFmpegError as error:
            errors += 1
            if errors > _TOLERATED_ERRORS + frames // 10:
                raise ExportError("decode_failed", UNDECODABLE) from error


def packets(container: InputContainer, stream: Kind) -> "Iterator[Packet[Kind]]":
    """A demuxer that breaks off ends the stream: whether that is too early is judged by time."""
    found = container.demux(stream)
    while True:
        try:
            packet = next(found, None)
        except av.FFmpegError:
            packet = None
        if packet is None:
            return
        yield packet


def _packets_anew(path: "Place", index: int) -> "Generator[Packet[VideoStream], None, None]":
    """The picture's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container:
        yield from packets(container, picture_stream(container, index))


def _picture_stream(container: InputContainer, path: "Place") -> VideoStream:
    """The stream that is the film, set up to be decoded."""
    with closing(_demuxed_anew(path)) as anew:
        stream = choose_picture(container, anew)
    if stream is None:
        raise ExportError("no_video_stream", "The source has no video in it.")
    return picture_stream(container, stream.index)


def _demuxed_anew(path: "Place") -> "Generator[Packet[Any], None, None]":
    """The file's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container, suppress(av.FFmpegError):
        yield from container.demux()


def seek(container: InputContainer, stream: VideoStream | AudioStream, seconds: float) -> None:
    """Move to a keyframe at or before a time of the container's clock; what can't be sought in stays where it is."""
    if stream.time_base is not None:
        with suppress(av.FFmpegError):
            container.seek(int(seconds / stream.time_base), stream=stream)


def picture_stream(container: InputContainer, index: int) -> VideoStream:
    """The stream that `probe` chose, set up to be decoded on every core."""
    stream = container.streams[index]
    if not isinstance(stream, VideoStream):
        raise ExportError("source_unreadable", UNREADABLE)
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    return stream


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    if max(width, height) > MAX_SIDE or width * height > MAX_FRAME_PIXELS:
        raise ExportError("source_too_large", "The source's picture is too large.")


def _origin(container: InputContainer, stream: VideoStream) -> float:
    """Where time begins: the container's start; sound that leads in below zero (encoder delay) doesn't move it."""
    start = (container.start_time or 0) / av.time_base
    if start >= 0:
        return start
    return min(0.0, _seconds(stream.start_time, stream) or 0.0)


def _seconds(ticks: int | None, stream: VideoStream) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """The picture's end as the headers tell it, in seconds from the origin, or None if they don't."""
    origin = _origin(container, stream)
    lasting = _seconds(stream.duration, stream)
    if lasting:
        return lasting + (_seconds(stream.start_time, stream) or 0.0) - origin
    tagged = _clock(stream.metadata.get("DURATION", ""))
    if tagged:
        return tagged - origin
    return container.duration / av.time_base if container.duration else None


def _clock(text: str) -> float | None:
    """Matroska's own tag: `00:01:02.500000000`."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _scanned_duration(path: "Place", index: int, origin: float) -> float:
    """The picture's end by its last packet, for recordings whose headers were never finished."""
    end = 0.0
    with open_container(path) as container:
        stream = picture_stream(container, index)
        for packet in packets(container, stream):
            if packet.pts is not None:
                lasting = packet.duration or 0
                end = max(end, float((packet.pts + lasting) * packet.time_base) - origin)
    if end <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    return end


def decode_first_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The first frame that can be decoded. Raises ExportError: decode_failed."""
    first = next(decoded(container, stream), None)
    if first is None:
        raise ExportError("decode_failed", UNDECODABLE)
    return first
