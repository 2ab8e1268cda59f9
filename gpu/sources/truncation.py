"""Whether a file is as long as it says itself, which tells one that was cut off from one that ends in a still."""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from gpu.transfer.range_reader import SourceLocation

_MOST_BOXES = 10_000
_HEAD_BYTES = 8
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot", b"moof", b"sidx", b"uuid"}
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_truncated(place: "SourceLocation") -> bool | None:
    """Whether bytes are missing at the end of a file; None of kinds that do not tell their length."""
    with closing(_opened(place)) as file:
        size = file.seek(0, io.SEEK_END)
        head = _read(file, 0, 12)
        if head[4:8] in _BOXES:
            return _has_cut_box(file, size)
        if head[:4] == _EBML:
            return _has_cut_segment(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            told = int.from_bytes(head[4:8], "little")
            return None if told in {0, 0xFFFFFFFF} else 8 + told > size
    return None


def measure_size(place: "SourceLocation") -> int:
    """How many bytes a file has."""
    with closing(_opened(place)) as file:
        return file.seek(0, io.SEEK_END)


def may_restart_times(place: "SourceLocation") -> bool:
    """Whether a file may go on in the middle with times that begin anew: FLV, fragments, segments of unknown length.

    What has an index of all its pictures can't.
    """
    with closing(_opened(place)) as file:
        size = file.seek(0, io.SEEK_END)
        head = _read(file, 0, 12)
        if head[4:8] in _BOXES:
            return any(kind == b"moof" for kind, _ in _boxes(file, size))
        if head[:4] == _EBML:
            end = _segment_end(file)
            return end is None or end < size
    return head[:3] == b"FLV"


def _opened(place: "SourceLocation") -> "BinaryIO | io.RawIOBase":
    return Path(place).open("rb") if isinstance(place, str) else place.open()


def _read(file: "BinaryIO | io.RawIOBase", position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length) or b""


def _has_cut_box(file: "BinaryIO | io.RawIOBase", size: int) -> bool:
    """MP4 and MOV: whether the last of the boxes reaches beyond the file."""
    return any(end > size for _, end in _boxes(file, size))


def _boxes(file: "BinaryIO | io.RawIOBase", size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the kind and the end of each box of an MP4 or MOV: one after another, each with its length."""
    position = 0
    for _ in range(_MOST_BOXES):
        head = _read(file, position, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < _HEAD_BYTES:  # to the end of the file, or no box at all
            return
        position += length
        yield head[4:8], position
        if position >= size:
            return


def _has_cut_segment(file: "BinaryIO | io.RawIOBase", size: int) -> bool | None:
    end = _segment_end(file)
    return None if end is None else end > size


def _segment_end(file: "BinaryIO | io.RawIOBase") -> int | None:
    """Matroska: a header, and one segment that holds everything; None where it does not tell its length."""
    length, position = _vint(_read(file, 4, 8))
    if length is None:
        return None
    begin = 4 + position + length
    head = _read(file, begin, 12)
    told, width = _vint(head[4:])
    if head[:4] != _SEGMENT or told is None:
        return None
    return begin + 4 + width + told


def _vint(content: bytes) -> tuple[int | None, int]:
    """A number of variable length and how many bytes it takes; None where it says that it is not known."""
    if not content or not content[0]:
        return None, 1
    width = 9 - content[0].bit_length()
    mask = (1 << (7 * width)) - 1
    value = int.from_bytes(content[:width], "big") & mask
    return (None if value == mask else value), width
