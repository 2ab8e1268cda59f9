"""Find the length of a source.

It is the video's, extended if audio goes on: the last picture is shown until the audio ends.
"""

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
    open_media_packets,
    prepare_video_stream,
    seek,
)
from gpu.sources.discontinuities import Scan, choose_video_end
from gpu.sources.frame_rate import DEFAULT_RATE, MAX_RATE

if TYPE_CHECKING:
    from gpu.sources.source import Source
    from gpu.transfer.range_reader import SourceLocation

# If the last picture ends this much later than its track, the header is wrong.
_LATE_SECONDS = 0.5
# For these FFmpeg reports the file's length, or the time of the last picture, as the length of each stream.
_WITHOUT_LENGTHS = frozenset({"asf", "nut"})


def find_origin(container: InputContainer, stream: VideoStream) -> float:
    """Return the container's time that is the source's zero.

    Audio before zero (encoder delay) doesn't change it.
    """
    start = (container.start_time or 0) / av.time_base
    if start >= 0:
        return start
    return min(0.0, _to_seconds(stream.start_time, stream) or 0.0)


def find_duration(
    path: "SourceLocation", container: InputContainer, stream: VideoStream, timing: Timing, scan: Scan | None
) -> float:
    """Return the length by a scan, by the headers, or by the packets."""
    origin = find_origin(container, stream)
    if scan is not None and scan.determines_duration and scan.picture_end > origin:
        return choose_video_end(scan.picture_end, scan.audio_end) - origin
    header_seconds = None if timing.untimed else read_duration(container, stream)
    if header_seconds:
        return _correct_duration(path, container, stream, origin, header_seconds)
    with open_media_packets(path, stream.index) as packets:
        measured = measure_duration(packets, stream.index, origin, untimed=timing.untimed)
    if measured <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    return measured


def _correct_duration(
    path: "SourceLocation",
    container: InputContainer,
    stream: VideoStream,
    origin: float,
    header_seconds: float,
) -> float:
    """Return the headers' length, corrected by the last pictures if the headers may be wrong.

    A header of the whole file includes the end of its audio. An MP4 track's length may be that of its decoding times,
    so that the last picture is shown later, or it may end inside a frame by which the track begins later.
    """
    is_rough = _read_video_duration(container, stream) is None
    if not is_rough and not container.format.name.startswith("mov"):
        return header_seconds
    measured = _find_last_picture_end(path, stream, origin + header_seconds) - origin
    if is_rough:
        return choose_video_end(measured, header_seconds) if measured > 0 else header_seconds
    is_partial_frame = header_seconds - float(_frame_seconds(stream)) < measured < header_seconds
    return measured if is_partial_frame or measured > header_seconds + _LATE_SECONDS else header_seconds


def _find_last_picture_end(path: "SourceLocation", stream: VideoStream, end: float) -> float:
    """Return when the last picture ends, on the container's clock.

    All pictures are read if a seek to the end finds none.
    """
    return _read_picture_end(path, stream, end) or _read_picture_end(path, stream, None)


def _read_picture_end(path: "SourceLocation", stream: VideoStream, start: float | None) -> float:
    """Return when the last picture after a seek ends, on the container's clock, or 0."""
    with open_container(path, headers_only=stream.container.format.name.startswith("mov")) as container:
        if start is not None:
            seek(container, prepare_video_stream(container, stream.index), start, None)
        ends = [
            float(packet.pts * packet.time_base + _picture_seconds(packet, stream))
            for packet in demux_stream(container, prepare_video_stream(container, stream.index))
            if packet.pts is not None and not packet.is_discard
        ]
    return max(ends, default=0.0)


def _picture_seconds(packet: "Packet[VideoStream]", stream: VideoStream) -> Fraction:
    """Return how long a picture is shown.

    FFmpeg reports one tick of the clock where it knows no rate; then the average rate is used.
    """
    seconds = Fraction((packet.duration or 0) * packet.time_base)
    return seconds if seconds * MAX_RATE >= 1 else _frame_seconds(stream)


def _frame_seconds(stream: VideoStream) -> Fraction:
    return 1 / (stream.average_rate or DEFAULT_RATE)


def measure_source_duration(source: "Source") -> float:
    """Return the length of a source by the packets that the file really contains."""
    with open_media_packets(source.path, source.video) as packets:
        return measure_duration(packets, source.video, source.origin, untimed=source.timing.untimed)


def read_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the headers' length in seconds from the origin, or None if they have none."""
    picture = _read_video_duration(container, stream)
    whole = container.duration / av.time_base if container.duration else None
    return choose_video_end(picture, whole or 0.0) if picture else whole


def measure_duration(
    demux_stream: "Iterable[Packet[Any]]", picture: int, origin: float, *, untimed: bool
) -> float:
    """Return the length by the packets of the video (a stream's index) and of audio, or 0.

    Where pictures have no times (`untimed`), the length is the sum of their packets' from the first keyframe on.
    """
    ends: dict[bool, float] = {True: 0.0, False: 0.0}
    seconds = decodable = 0.0
    has_keyframe = False
    for packet in demux_stream:
        is_picture = packet.stream_index == picture
        length = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
        has_keyframe = has_keyframe or (is_picture and packet.is_keyframe)
        seconds += length * is_picture
        decodable += length * is_picture * has_keyframe
        if packet.pts is not None and packet.time_base and not untimed:
            ends[is_picture] = max(ends[is_picture], float(packet.pts * packet.time_base) - origin + length)
    return choose_video_end(ends[True] or decodable or seconds, ends[False])


def _read_video_duration(container: InputContainer, stream: VideoStream) -> float | None:
    origin = find_origin(container, stream)
    seconds = _to_seconds(stream.duration, stream)
    if seconds and container.format.name not in _WITHOUT_LENGTHS:
        return seconds + (_to_seconds(stream.start_time, stream) or 0.0) - origin
    tagged = parse_clock(stream.metadata.get("DURATION", ""))
    return tagged - origin if tagged else None


def _to_seconds(ticks: int | None, stream: VideoStream) -> float | None:
    return None if ticks is None or stream.time_base is None else float(ticks * stream.time_base)


def parse_clock(text: str) -> float | None:
    """Return the seconds of a Matroska DURATION tag such as `00:01:02.500000000`."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
