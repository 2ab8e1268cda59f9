"""Open sources as one of the known kinds of file, and read their packets."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from gpu.errors import ExportError, map_errors
from gpu.sources.discontinuities import Scan, close_breaks
from gpu.sources.file_kinds import DEMUXERS, check_supported

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

MAX_FRAME_PIXELS = 8_192 * 8_192
# How far to search for the size of the picture: beyond a group of pictures of one minute.
_THOROUGH_OPTIONS = {"probesize": str(256 * 1024 * 1024), "analyzeduration": str(60_000_000)}
# FFmpeg decodes pictures when it opens a file, which takes longer than all else here.
_HEADERS_ONLY_OPTIONS = {"skip_frame": "all", "probesize": "32"}
# `merge_pmt_versions`: parts of a transport stream with other track ids are still the same video.
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "merge_pmt_versions": "1"}
UNREADABLE = "The source is not a readable video; it may be damaged or incomplete."

Kind = TypeVar("Kind", VideoStream, AudioStream)


def open_container(
    path: "SourceLocation",
    decoder: HWAccel | None = None,
    *,
    thorough: bool = False,
    headers_only: bool = False,
) -> InputContainer:
    """Open a source as one of the known containers.

    A source can't make FFmpeg open other files or URLs. `thorough` is for recordings that begin long before their
    first keyframe: the search for the size goes further. `headers_only` is for reading packets of an MP4 or MOV, which
    needs nothing that only its pictures tell.
    """
    file = f"file:{path}" if isinstance(path, str) else path.open()
    options = _OPTIONS | (_THOROUGH_OPTIONS if thorough else {})
    options |= _HEADERS_ONLY_OPTIONS if headers_only else {}
    with map_errors("source_unreadable", UNREADABLE):
        return av.open(file, "r", options=options, metadata_errors="replace", hwaccel=decoder)


def open_to_probe(path: "SourceLocation") -> InputContainer:
    """Open a source, and search further if no picture's size is known.

    Raises ExportError: source_unsupported.
    """
    try:
        container = open_container(path)
    except ExportError:
        check_supported(path)
        raise
    if not container.streams.video or any(stream.width for stream in list_decodable_video(container)):
        return container
    container.close()
    return open_container(path, thorough=True)


def list_decodable_video(container: InputContainer) -> list[VideoStream]:
    streams = [stream for stream in container.streams.video if has_decoder(stream)]
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def has_decoder(stream: VideoStream) -> bool:
    return getattr(stream, "codec_context", None) is not None


def demux_stream(
    container: InputContainer, stream: Kind, scan: Scan | None = None
) -> "Iterator[Packet[Kind]]":
    """Return a stream's packets from the current position, with the breaks of `scan` closed.

    A demuxer that fails ends the stream; the caller decides by time whether that is too early.
    """
    return close_breaks(_read_until_failure(container.demux(stream)), scan)


def _read_until_failure(packets: "Iterator[Packet[Kind]]") -> "Iterator[Packet[Kind]]":
    while True:
        try:
            packet = next(packets, None)
        # PyAV raises IndexError at the end of a file in which tracks have begun after its header.
        except (av.FFmpegError, IndexError):
            packet = None
        if packet is None:
            return
        yield packet


def read_video_packets(
    path: "SourceLocation", index: int, scan: Scan | None
) -> "Generator[Packet[VideoStream], None, None]":
    """Yield the video's packets from the beginning; the container is opened with the first."""
    with open_container(path) as container:
        yield from demux_stream(container, prepare_video_stream(container, index), scan)


def read_all_packets(path: "SourceLocation") -> "Generator[Packet[Any], None, None]":
    """Yield the file's packets from the beginning; the container is opened with the first."""
    with open_container(path) as container:
        yield from _read_until_failure(cast("Iterator[Packet[Any]]", container.demux()))


def seek(
    container: InputContainer, stream: VideoStream | AudioStream, seconds: float, scan: Scan | None
) -> None:
    """Move to a keyframe at or before a time of the container's clock.

    A container without seeking stays at its position.
    """
    with suppress(av.FFmpegError):
        if scan is not None and scan.breaks:
            if scan.keyframes:
                container.seek(scan.position(seconds), unsupported_byte_offset=True)
        elif stream.time_base is not None:
            container.seek(int(seconds / stream.time_base), stream=stream)


def prepare_video_stream(container: InputContainer, index: int) -> VideoStream:
    """Return the video stream that `probe` selected, configured to decode on every core."""
    stream = container.streams[index]
    if not isinstance(stream, VideoStream):
        raise ExportError("source_unreadable", UNREADABLE)
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    return stream


@contextmanager
def open_media_packets(path: "SourceLocation", video: int) -> "Iterator[Iterator[Packet[Any]]]":
    """Open a file and yield its packets of video and audio, from the beginning."""
    with open_container(path) as container:
        yield demux_media(container, video)


def demux_media(container: InputContainer, video: int) -> "Iterator[Packet[Any]]":
    """Yield the packets of video and audio from the container's position."""
    return _read_until_failure(container.demux(container.streams[video], *container.streams.audio))
