"""What a source is, found out before anything is spent on it: opened safely, bounds checked, a frame decoded."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

import av
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from gpu.decoders import Decoder
from gpu.duration import (
    HELD_SECONDS,
    find_origin,
    hold_last_picture,
    measure_duration,
    read_duration,
)
from gpu.errors import ExportError, failing_as
from gpu.joins import Scan, close_breaks, describe_breaks, may_be_joined, scan_packets
from gpu.kinds import DEMUXERS, check_supported, unsupported
from gpu.listing import read_listing
from gpu.normalize import BLACK, displayed_size
from gpu.pace import counted_pace, pace
from gpu.times import Timing, examine_times, time_packets
from gpu.tracks import Mix, Track, choose_picture, list_tracks, rank_sounds

if TYPE_CHECKING:
    from gpu.remote import Place

MAX_SIDE = 16_384
MAX_FRAME_PIXELS = 8_192 * 8_192
MAX_DURATION_SECONDS = 24 * 3_600.0
_TOLERATED_ERRORS = 25
# A recording may begin amid a group of pictures: none of its packets can be decoded before the next keyframe.
_TOLERATED_BEFORE_FIRST = 5_000
# What is looked at of a stream before it is decoded.
_OPENING_PACKETS, _OPENING_BYTES = 60, 16 * 1024 * 1024

Kind = TypeVar("Kind", VideoStream, AudioStream)

# How far is looked for the size of a picture: past a group of pictures of a minute.
_THOROUGH = {"probesize": str(256 * 1024 * 1024), "analyzeduration": str(60_000_000)}
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
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
    timing: Timing = field(default_factory=Timing)
    scan: Scan | None = None

    @property
    def is_seekable(self) -> bool:
        """Whether pictures have the same times after a seek as when they are read from the beginning."""
        return not self.timing.counted and (self.scan is None or self.scan.seekable)


def open_container(
    path: "Place", decoder: HWAccel | None = None, *, thorough: bool = False
) -> InputContainer:
    """Open a source as one of the known containers; it can't make FFmpeg open anything else.

    `thorough` is for recordings that begin long before their first keyframe: the search for the size goes further.
    """
    opened = f"file:{path}" if isinstance(path, str) else path.open()
    options = _OPTIONS | (_THOROUGH if thorough else {})
    with failing_as("source_unreadable", UNREADABLE):
        return av.open(opened, "r", options=options, metadata_errors="replace", hwaccel=decoder)


def _open_to_probe(path: "Place") -> InputContainer:
    """Open a source, and if no picture's size is known, look further. Raises ExportError: source_unsupported."""
    try:
        container = open_container(path)
    except ExportError:
        check_supported(path)
        raise
    if not container.streams.video or any(stream.width for stream in _decodable_pictures(container)):
        return container
    container.close()
    return open_container(path, thorough=True)


def _decodable_pictures(container: InputContainer) -> list[VideoStream]:
    streams = [stream for stream in container.streams.video if _has_decoder(stream)]
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def _has_decoder(stream: VideoStream) -> bool:
    return getattr(stream, "codec_context", None) is not None


def probe(path: "Place", scan: Scan | None = None) -> Source:
    """Look at a source; `scan` is what an earlier look at the same file found.

    Raises ExportError: source_unreadable, no_video_stream, source_too_large, decode_failed.
    """
    with _open_to_probe(path) as container, failing_as("source_unreadable", UNREADABLE):
        # Before anything is decoded: the listing turns FFmpeg's log on, and a decoder's thread that writes to it waits
        # for this one, which waits for that thread when the decoder is closed.
        listing = read_listing(container)
        stream = _picture_stream(container, path)
        _check_size(stream.width, stream.height)
        origin = find_origin(container, stream)
        opening = list(_opening(packets(container, stream)))
        timing = examine_times(container, stream, opening)
        if scan is None and may_be_joined(container) and not timing.counted:
            scan = _scan(path, stream.index)
        duration = _film_duration(path, container, stream, timing, scan)
        if duration > MAX_DURATION_SECONDS:
            raise ExportError("source_too_large", "The source is longer than 24 hours.")
        counted = counted_pace(stream, opening, timing)
        with closing(_packets_anew(path, stream.index, scan)) as anew:
            rate, variable = (counted, False) if counted else pace(stream, anew)
        first = decode_first_frame(container, stream, opening)
        width, height = displayed_size(first, stream.sample_aspect_ratio)
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
            notes=describe_breaks(scan),
            timing=timing,
            scan=scan,
        )


def decoded(container: InputContainer, stream: VideoStream, source: Source) -> Iterator[VideoFrame]:
    """Every frame from where the container stands; a few damaged packets are passed over, many are decode_failed."""
    return _decode(time_packets(packets(container, stream, source.scan), source.timing))


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


def packets(container: InputContainer, stream: Kind, scan: Scan | None = None) -> "Iterator[Packet[Kind]]":
    """The packets from where the container stands, on a clock that runs on over the breaks that a scan found.

    A demuxer that breaks off ends the stream: whether that is too early is judged by time.
    """
    return close_breaks(_until_failure(container.demux(stream)), scan)


def _until_failure(found: "Iterator[Packet[Kind]]") -> "Iterator[Packet[Kind]]":
    while True:
        try:
            packet = next(found, None)
        except av.FFmpegError:
            packet = None
        if packet is None:
            return
        yield packet


def _packets_anew(
    path: "Place", index: int, scan: Scan | None
) -> "Generator[Packet[VideoStream], None, None]":
    """The picture's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container:
        yield from packets(container, picture_stream(container, index), scan)


def _picture_stream(container: InputContainer, path: "Place") -> VideoStream:
    """The stream that is the film, set up to be decoded."""
    with closing(_demuxed_anew(path)) as anew:
        stream = choose_picture(container, anew)
    if stream is None and _decodable_pictures(container):
        message = "The source has video in it, but no picture that can be decoded: it has no keyframe."
        raise ExportError("decode_failed", message)
    if stream is None and any(not _has_decoder(stream) for stream in container.streams.video):
        raise unsupported("The source's video is coded in a way that can't be decoded.")
    if stream is None:
        raise ExportError("no_video_stream", "The source has no video in it.")
    return picture_stream(container, stream.index)


def _demuxed_anew(path: "Place") -> "Generator[Packet[Any], None, None]":
    """The file's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container, suppress(av.FFmpegError):
        yield from container.demux()


def seek(
    container: InputContainer, stream: VideoStream | AudioStream, seconds: float, scan: Scan | None
) -> None:
    """Move to a keyframe at or before a time of the container's clock; what can't be sought in stays where it is."""
    with suppress(av.FFmpegError):
        if scan is not None and scan.breaks:
            container.seek(scan.position(seconds), unsupported_byte_offset=True)
        elif stream.time_base is not None:
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


def _film_duration(
    path: "Place", container: InputContainer, stream: VideoStream, timing: Timing, scan: Scan | None
) -> float:
    """How long the film lasts, by a scan, by its headers, or by its packets."""
    origin = find_origin(container, stream)
    if scan is not None and scan.picture_end > origin:
        return hold_last_picture(scan.picture_end, scan.sound_end) - origin
    told = None if timing.counted else read_duration(container, stream)
    if told:
        late = (
            _late_picture(path, stream, origin + told) - origin
            if _counts_decoding(container, stream)
            else 0.0
        )
        return late if late > told + HELD_SECONDS / 2 else told
    with _reading(path, stream.index) as found:
        measured = measure_duration(found, stream.index, origin, counted=timing.counted)
    if measured <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    return measured


def _counts_decoding(container: InputContainer, stream: VideoStream) -> bool:
    """Whether a track is as long as its times of decoding: its last picture may be shown after that."""
    return container.format.name.startswith("mov") and stream.codec_context.has_b_frames


def _late_picture(path: "Place", stream: VideoStream, end: float) -> float:
    """When the last pictures of a file end, on the container's clock."""
    with open_container(path) as container:
        seek(container, picture_stream(container, stream.index), end, None)
        shown = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in packets(container, picture_stream(container, stream.index))
            if packet.pts is not None and not packet.is_discard
        ]
    return max(shown, default=0.0)


def _scan(path: "Place", picture: int) -> Scan:
    with _reading(path, picture) as found:
        return scan_packets(found, picture)


@contextmanager
def _reading(path: "Place", picture: int) -> "Iterator[Iterator[Packet[Any]]]":
    """All packets of the picture and of sound, from the beginning."""
    with open_container(path) as container:
        streams = [container.streams[picture], *container.streams.audio]
        yield _until_failure(container.demux(*streams))


def measured_duration(source: Source) -> float:
    """How long a source lasts by the packets that it really has."""
    with _reading(source.path, source.video) as found:
        return measure_duration(found, source.video, source.origin, counted=source.timing.counted)


def decode_first_frame(
    container: InputContainer, stream: VideoStream, opening: "Iterable[Packet[VideoStream]]" = ()
) -> VideoFrame:
    """The first frame from where the container stands, after the packets that were read already."""
    first = next(_decode(chain(opening, packets(container, stream))), None)
    if first is None:
        raise ExportError("decode_failed", UNDECODABLE)
    return first
