"""Sources opened as one of the known kinds of file, and their packets, on a clock without breaks."""

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
# How far is looked for the size of a picture: past a group of pictures of a minute.
_THOROUGH = {"probesize": str(256 * 1024 * 1024), "analyzeduration": str(60_000_000)}
# Parts of a transport stream that name their tracks otherwise are one film all the same.
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "merge_pmt_versions": "1"}
UNREADABLE = "The source is not a video that can be read; it may be damaged or incomplete."

Kind = TypeVar("Kind", VideoStream, AudioStream)


def open_container(
    path: "SourceLocation", decoder: HWAccel | None = None, *, thorough: bool = False
) -> InputContainer:
    """Open a source as one of the known containers; it can't make FFmpeg open anything else.

    `thorough` is for recordings that begin long before their first keyframe: the search for the size goes further.
    """
    opened = f"file:{path}" if isinstance(path, str) else path.open()
    options = _OPTIONS | (_THOROUGH if thorough else {})
    with map_errors("source_unreadable", UNREADABLE):
        return av.open(opened, "r", options=options, metadata_errors="replace", hwaccel=decoder)


def open_to_probe(path: "SourceLocation") -> InputContainer:
    """Open a source, and if no picture's size is known, look further. Raises ExportError: source_unsupported."""
    try:
        container = open_container(path)
    except ExportError:
        check_supported(path)
        raise
    if not container.streams.video or any(stream.width for stream in list_decodable_pictures(container)):
        return container
    container.close()
    return open_container(path, thorough=True)


def list_decodable_pictures(container: InputContainer) -> list[VideoStream]:
    streams = [stream for stream in container.streams.video if has_decoder(stream)]
    return [stream for stream in streams if not stream.disposition & Disposition.attached_pic]


def has_decoder(stream: VideoStream) -> bool:
    return getattr(stream, "codec_context", None) is not None


def demux_stream(
    container: InputContainer, stream: Kind, scan: Scan | None = None
) -> "Iterator[Packet[Kind]]":
    """The packets from where the container stands, on a clock that runs on over the breaks that a scan found.

    A demuxer that breaks off ends the stream: whether that is too early is judged by time.
    """
    return close_breaks(_read_until_failure(container.demux(stream)), scan)


def _read_until_failure(found: "Iterator[Packet[Kind]]") -> "Iterator[Packet[Kind]]":
    while True:
        try:
            packet = next(found, None)
        except (
            av.FFmpegError,
            IndexError,
        ):  # PyAV's, at the end of a file in which tracks have begun meanwhile
            packet = None
        if packet is None:
            return
        yield packet


def read_picture_packets(
    path: "SourceLocation", index: int, scan: Scan | None
) -> "Generator[Packet[VideoStream], None, None]":
    """The picture's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container:
        yield from demux_stream(container, prepare_video_stream(container, index), scan)


def read_all_packets(path: "SourceLocation") -> "Generator[Packet[Any], None, None]":
    """The file's packets from the beginning, in a container that is opened when the first is asked for."""
    with open_container(path) as container:
        yield from _read_until_failure(cast("Iterator[Packet[Any]]", container.demux()))


def seek(
    container: InputContainer, stream: VideoStream | AudioStream, seconds: float, scan: Scan | None
) -> None:
    """Move to a keyframe at or before a time of the container's clock; what can't be sought in stays where it is."""
    with suppress(av.FFmpegError):
        if scan is not None and scan.breaks:
            if scan.keyframes:
                container.seek(scan.position(seconds), unsupported_byte_offset=True)
        elif stream.time_base is not None:
            container.seek(int(seconds / stream.time_base), stream=stream)


def prepare_video_stream(container: InputContainer, index: int) -> VideoStream:
    """The stream that `probe` chose, set up to be decoded on every core."""
    stream = container.streams[index]
    if not isinstance(stream, VideoStream):
        raise ExportError("source_unreadable", UNREADABLE)
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    return stream


@contextmanager
def open_film_packets(path: "SourceLocation", picture: int) -> "Iterator[Iterator[Packet[Any]]]":
    """All packets of the picture and of sound, from the beginning."""
    with open_container(path) as container:
        yield demux_film(container, picture)


def demux_film(container: InputContainer, picture: int) -> "Iterator[Packet[Any]]":
    """The packets of the picture and of sound from where a container stands."""
    return _read_until_failure(container.demux(container.streams[picture], *container.streams.audio))
