"""How long a source's film lasts: its picture, and beyond that the last picture held as long as anything goes on."""

from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from gpu.errors import ExportError
from gpu.media.timestamps import Timing
from gpu.sources.container import (
    UNREADABLE,
    demux_stream,
    open_container,
    open_film_packets,
    prepare_video_stream,
    seek,
)
from gpu.sources.discontinuities import Scan, choose_film_end
from gpu.sources.frame_rate import MAX_RATE, USUAL_RATE

if TYPE_CHECKING:
    from gpu.sources.source import Source
    from gpu.transfer.range_reader import SourceLocation

# How much later than its track a last picture has to be shown for the header to be wrong.
_LATE_SECONDS = 0.5
# In these FFmpeg takes the length of the file, or the time of the last picture, for how long each stream lasts.
_WITHOUT_LENGTHS = frozenset({"asf", "nut"})


def find_origin(container: InputContainer, stream: VideoStream) -> float:
    """Where time begins: the container's start; sound that leads in below zero (encoder delay) doesn't move it."""
    start = (container.start_time or 0) / av.time_base
    if start >= 0:
        return start
    return min(0.0, _seconds(stream.start_time, stream) or 0.0)


def find_duration(
    path: "SourceLocation", container: InputContainer, stream: VideoStream, timing: Timing, scan: Scan | None
) -> float:
    """How long the film lasts, by a scan, by its headers, or by its packets."""
    origin = find_origin(container, stream)
    if scan is not None and scan.rules_times and scan.picture_end > origin:
        return choose_film_end(scan.picture_end, scan.sound_end) - origin
    told = None if timing.untimed else read_duration(container, stream)
    if told:
        return _correct_duration(path, container, stream, origin, told)
    with open_film_packets(path, stream.index) as found:
        measured = measure_duration(found, stream.index, origin, untimed=timing.untimed)
    if measured <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    return measured


def _correct_duration(
    path: "SourceLocation", container: InputContainer, stream: VideoStream, origin: float, told: float
) -> float:
    """The film's length as told by headers, corrected by its last pictures where those may tell another.

    A header of the whole file counts the tail of its sound. A track of MP4 may be as long as its times of decoding, so
    that its last picture is shown after that, or end amid a frame by which it begins later.
    """
    is_rough = _picture_duration(container, stream) is None
    if not is_rough and not container.format.name.startswith("mov"):
        return told
    shown = _find_picture_end(path, stream, origin + told) - origin
    if is_rough:
        return choose_film_end(shown, told) if shown > 0 else told
    is_rest = told - float(_frame_seconds(stream)) < shown < told
    return shown if is_rest or shown > told + _LATE_SECONDS else told


def _find_picture_end(path: "SourceLocation", stream: VideoStream, end: float) -> float:
    """When the last pictures of a file end, on the container's clock; all are read if a seek to them finds none."""
    return _read_picture_end(path, stream, end) or _read_picture_end(path, stream, None)


def _read_picture_end(path: "SourceLocation", stream: VideoStream, start: float | None) -> float:
    """When the last of the pictures after a seek ends, on the container's clock; 0 if there are none."""
    with open_container(path) as container:
        if start is not None:
            seek(container, prepare_video_stream(container, stream.index), start, None)
        shown = [
            float(packet.pts * packet.time_base + _lasting(packet, stream))
            for packet in demux_stream(container, prepare_video_stream(container, stream.index))
            if packet.pts is not None and not packet.is_discard
        ]
    return max(shown, default=0.0)


def _lasting(packet: "Packet[VideoStream]", stream: VideoStream) -> Fraction:
    """How long a picture is shown; FFmpeg guesses a tick of the clock where it knows no rate."""
    lasting = Fraction((packet.duration or 0) * packet.time_base)
    return lasting if lasting * MAX_RATE >= 1 else _frame_seconds(stream)


def _frame_seconds(stream: VideoStream) -> Fraction:
    return 1 / (stream.average_rate or USUAL_RATE)


def measure_source_duration(source: "Source") -> float:
    """How long a source lasts by the packets that it really has."""
    with open_film_packets(source.path, source.video) as found:
        return measure_duration(found, source.video, source.origin, untimed=source.timing.untimed)


def read_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """The film's length as the headers tell it, in seconds from the origin, or None if they don't."""
    picture = _picture_duration(container, stream)
    whole = container.duration / av.time_base if container.duration else None
    return choose_film_end(picture, whole or 0.0) if picture else whole


def measure_duration(
    demux_stream: "Iterable[Packet[Any]]", picture: int, origin: float, *, untimed: bool
) -> float:
    """The film's length by the packets of the picture (a stream's index) and of sound; 0 if there are none.

    Where pictures have no times of their own (`untimed`) they are as long as their packets together, from the first
    keyframe on.
    """
    ends: dict[bool, float] = {True: 0.0, False: 0.0}
    lasting = decodable = 0.0
    has_keyframe = False
    for packet in demux_stream:
        is_picture = packet.stream_index == picture
        length = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
        has_keyframe = has_keyframe or (is_picture and packet.is_keyframe)
        lasting += length * is_picture
        decodable += length * is_picture * has_keyframe
        if packet.pts is not None and packet.time_base and not untimed:
            ends[is_picture] = max(ends[is_picture], float(packet.pts * packet.time_base) - origin + length)
    return choose_film_end(ends[True] or decodable or lasting, ends[False])


def _picture_duration(container: InputContainer, stream: VideoStream) -> float | None:
    origin = find_origin(container, stream)
    lasting = _seconds(stream.duration, stream)
    if lasting and container.format.name not in _WITHOUT_LENGTHS:
        return lasting + (_seconds(stream.start_time, stream) or 0.0) - origin
    tagged = parse_clock(stream.metadata.get("DURATION", ""))
    return tagged - origin if tagged else None


def _seconds(ticks: int | None, stream: VideoStream) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)


def parse_clock(text: str) -> float | None:
    """Matroska's own tag: `00:01:02.500000000`."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
