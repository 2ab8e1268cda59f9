"""The look through a whole file for breaks of its clock, where its kind may have some."""

from typing import TYPE_CHECKING

from av.container import InputContainer

from gpu.errors import ExportError
from gpu.sources.container import demux_film, open_container
from gpu.sources.discontinuities import Scan, is_concatenable, scan_packets
from gpu.sources.ffmpeg_listing import read_listing
from gpu.sources.truncation import may_restart_times, measure_size

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

# Streams end a little before their file; more than that beyond the last picture is a part of the film.
_LOST_SECONDS = 2.0


def scan_file(path: "SourceLocation", container: InputContainer, picture: int) -> Scan | None:
    """Scan a file for breaks; None of a kind that has none. Raises ExportError: source_unsupported."""
    is_stream = is_concatenable(container)
    if not is_stream and not may_restart_times(path):
        return None
    with open_container(path) as opened:
        scan = scan_packets(demux_film(opened, picture), picture)
        if is_stream:
            _check_pictures(path, opened, scan)
    return scan if is_stream else scan.read_through()


def _check_pictures(path: "SourceLocation", container: InputContainer, scan: Scan) -> None:
    """Raise where the film goes on in a track that was not there at the beginning: PyAV passes over those."""
    known = len(container.streams)
    if not any(index >= known for index in read_listing(container).pictures):
        return
    read, shown = scan.last_picture, scan.picture_end - scan.picture_start
    if shown * (measure_size(path) - read) > _LOST_SECONDS * read:
        message = (
            f"The source changes to another picture track {shown:.1f} s after its beginning; join its parts into one "
            "track first, or export each by itself."
        )
        raise ExportError("source_unsupported", message)
