"""Scan a whole file for breaks in its clock, if its format can have them."""

from typing import TYPE_CHECKING

from av.container import InputContainer

from gpu.errors import ExportError
from gpu.sources.container import demux_media, open_container
from gpu.sources.discontinuities import Scan, is_concatenable, scan_packets
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.truncation import may_restart_times, measure_size

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

# Streams end a little before their file does; if more follows the last picture, it is another part of the video.
_MAX_UNREAD_SECONDS = 2.0


def scan_file(path: "SourceLocation", container: InputContainer, picture: int) -> Scan | None:
    """Scan a file for breaks; return None if its format can't have any.

    Raises ExportError: source_unsupported.
    """
    is_stream = is_concatenable(container)
    if not is_stream and not may_restart_times(path):
        return None
    with open_container(path) as scanned:
        scan = scan_packets(demux_media(scanned, picture), picture)
        if is_stream:
            _check_later_tracks(path, scanned, scan)
    return scan if is_stream else scan.without_byte_seek()


def _check_later_tracks(path: "SourceLocation", container: InputContainer, scan: Scan) -> None:
    """Raise if the video continues in a track that begins later, which PyAV ignores."""
    known = len(container.streams)
    if not any(index >= known for index in read_listing(container).video_streams):
        return
    bytes_read, video_seconds = scan.last_picture, scan.picture_end - scan.picture_start
    if video_seconds * (measure_size(path) - bytes_read) > _MAX_UNREAD_SECONDS * bytes_read:
        message = (
            f"The source continues in another video track after {video_seconds:.1f} s. "
            "Join its parts into one track, or export each part separately."
        )
        raise ExportError("source_unsupported", message)
