"""Compare a file's size with its headers, to detect files that were cut off.

Without that, a file that was cut off looks like one with a long last picture.
"""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

_MAX_BOXES = 10_000
_HEAD_BYTES = 8
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"moof", b"sidx", b"uuid"}
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_truncated(location: "SourceLocation") -> bool | None:
    """Return whether bytes are missing at the end; None for formats without a length in bytes."""
    with closing(_open(location)) as file:
        size = file.seek(0, io.SEEK_END)
        head = _read(file, 0, 12)
        if head[4:8] in _BOXES:
            return _is_box_truncated(file, size)
        if head[:4] == _EBML:
            return _is_segment_truncated(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            header_length = int.from_bytes(head[4:8], "little")
            return None if header_length in {0, 0xFFFFFFFF} else 8 + header_length > size
    return None


def measure_size(location: "SourceLocation") -> int:
    """Return the size of a file in bytes."""
    with closing(_open(location)) as file:
        return file.seek(0, io.SEEK_END)


def may_restart_times(location: "SourceLocation") -> bool:
    """Return whether times may restart inside a file of this format.

    They may in FLV, in MP4 fragments, and in Matroska segments of unknown length; not in a file with an index of all
    its pictures.
    """
    with closing(_open(location)) as file:
        size = file.seek(0, io.SEEK_END)
        head = _read(file, 0, 12)
        if head[4:8] in _BOXES:
            return any(kind == b"moof" for kind, _ in _boxes(file, size))
        if head[:4] == _EBML:
            end = _segment_end(file)
            return end is None or end < size
    return head[:3] == b"FLV"


def _open(location: "SourceLocation") -> "BinaryIO | io.RawIOBase":
    return Path(location).open("rb") if isinstance(location, str) else location.open()


def _read(file: "BinaryIO | io.RawIOBase", position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length) or b""


def _is_box_truncated(file: "BinaryIO | io.RawIOBase", size: int) -> bool:
    """Return whether the last box of an MP4 or MOV reaches beyond the end of the file."""
    return any(end > size for _, end in _boxes(file, size))


def _boxes(file: "BinaryIO | io.RawIOBase", size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the type and the end position of each top-level box of an MP4 or MOV."""
    position = 0
    for _ in range(_MAX_BOXES):
        head = _read(file, position, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < _HEAD_BYTES:  # reaches to the end of the file, or is not a box
            return
        position += length
        yield head[4:8], position
        if position >= size:
            return


def _is_segment_truncated(file: "BinaryIO | io.RawIOBase", size: int) -> bool | None:
    end = _segment_end(file)
    return None if end is None else end > size


def _segment_end(file: "BinaryIO | io.RawIOBase") -> int | None:
    """Return where a Matroska file's only segment ends; None if its length is unknown."""
    length, position = _read_vint(_read(file, 4, 8))
    if length is None:
        return None
    begin = 4 + position + length
    head = _read(file, begin, 12)
    header_length, width = _read_vint(head[4:])
    if head[:4] != _SEGMENT or header_length is None:
        return None
    return begin + 4 + width + header_length


def _read_vint(content: bytes) -> tuple[int | None, int]:
    """Return an EBML number of variable length (None: unknown) and how many bytes it takes."""
    if not content or not content[0]:
        return None, 1
    width = 9 - content[0].bit_length()
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(content[:width], "big") & mask
    return (None if value == mask else value), width
