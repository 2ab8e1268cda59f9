"""Every picture made alike: upright, progressive, square pixels, yuv420p, bt709 limited, one size.

A frame that is so already passes untouched. Whatever an export draws, it draws on such frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from gpu.graphs import linked, pulled

PIXEL_FORMAT = "yuv420p"
BT709 = 1
LIMITED = 1
_UNSPECIFIED = 2
_FULL = 2
_BT2020_PRIMARIES = 9
_HDR_TRANSFERS = {16, 18}  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG)
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc", 10: "bt2020c",
}  # fmt: skip
_TRANSPOSES = {
    (True, False): "clock",
    (False, True): "cclock",
    (False, False): "cclock_flip",
    (True, True): "clock_flip",
}
_SD_MATRIX = 6
_HD_WIDTH, _HD_HEIGHT = 1_280, 720

Chain = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Look:
    """What decides which filters a frame needs; a new look mid-stream builds a new graph."""

    width: int
    height: int
    pixel_format: str
    matrix: int
    limited: bool
    wide_gamut: bool
    interlaced: bool
    turn: Chain


class Normalizer:
    """Frames as decoded in, frames as above out, `width` x `height` pixels."""

    def __init__(self, width: int, height: int, time_base: Fraction) -> None:
        self._size = (width, height)
        self._time_base = time_base
        self._look: _Look | None = None
        self._turned: tuple[int, Chain] | None = None
        self._graph: Graph | None = None

    def push(self, frame: VideoFrame) -> Iterator[VideoFrame]:
        """Take one frame; deinterlacing gives frames back one later."""
        look = _look(frame, self._turn(frame))
        if look != self._look:
            yield from self.flush()
            self._look, self._graph = look, self._built(look)
        if self._graph is None:
            yield frame
            return
        frame.colorspace = look.matrix
        frame.color_range = LIMITED if look.limited else _FULL
        self._graph.push(frame)
        yield from pulled(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        """Give back what is still held, at the end or where the look changes."""
        if self._graph is not None:
            self._graph.push(None)
            yield from pulled(self._graph)
            self._graph = None

    def _turn(self, frame: VideoFrame) -> Chain:
        """As `_turn`, looked up only where the angle changes.

        Reading a frame's side data ties the two in a cycle, which holds the picture until the next collection.
        """
        if self._turned is None or self._turned[0] != frame.rotation:
            self._turned = frame.rotation, _turn(frame)
        return self._turned[1]

    def _built(self, look: _Look) -> Graph | None:
        chain = _chain(look, *self._size)
        return linked(_buffer(look, self._time_base), *chain) if chain else None


def displayed_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of the picture as shown: pixels made square, then turned upright."""
    width, height = frame.width, frame.height
    if aspect and aspect != 1:
        width = max(2, round(width * aspect))
    return (height, width) if _sideways(_turn(frame)) else (width, height)


def is_output_ready(frame: VideoFrame, width: int, height: int) -> bool:
    """Whether a frame is what an output promises, in a size, and says so itself: nothing about it is guessed."""
    tags = {frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range}
    return tags == {BT709} and not _chain(_look(frame, _turn(frame)), width, height)


def _look(frame: VideoFrame, turn: Chain) -> _Look:
    matrix = frame.colorspace
    if matrix == _UNSPECIFIED or matrix not in _MATRICES:
        matrix = BT709 if frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT else _SD_MATRIX
    if "rgb" in frame.format.name or "gbr" in frame.format.name:
        matrix = 0
    return _Look(
        width=frame.width,
        height=frame.height,
        pixel_format=frame.format.name,
        matrix=matrix,
        limited=frame.color_range != _FULL and not frame.format.name.startswith("yuvj") and matrix != 0,
        wide_gamut=frame.color_primaries == _BT2020_PRIMARIES or frame.color_trc in _HDR_TRANSFERS,
        interlaced=frame.interlaced_frame,
        turn=turn,
    )


def _turn(frame: VideoFrame) -> Chain:
    """The filters that turn a frame upright, by its display matrix (a, b, u, c, d, v, x, y, w; a is cos)."""
    side_data = cast(SideDataContainer, frame.side_data).get(Type.DISPLAYMATRIX)
    if side_data is None:
        return ()
    a, b, _, c, d, *_ = (int(number) for number in np.frombuffer(side_data, np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (("hflip", ""),) * (a < 0) + (("vflip", ""),) * (d < 0)
    return (("transpose", f"dir={_TRANSPOSES[c < 0, b < 0]}"),)


def _sideways(turn: Chain) -> bool:
    return any(name == "transpose" for name, _ in turn)


def _chain(look: _Look, width: int, height: int) -> Chain:
    """The filters in order, with their arguments; none for a frame that needs nothing."""
    chain: Chain = (("bwdif", "mode=send_frame:deint=interlaced"),) if look.interlaced else ()
    chain += look.turn
    upright = (look.height, look.width) if _sideways(look.turn) else (look.width, look.height)
    alike = (
        look.pixel_format == PIXEL_FORMAT and look.matrix == BT709 and look.limited and not look.wide_gamut
    )
    if upright != (width, height) or not alike:
        chain += (("scale", _scale(look, width, height)), ("format", PIXEL_FORMAT), ("setsar", "1"))
    return chain


def _scale(look: _Look, width: int, height: int) -> str:
    """Matrix and range always; primaries and transfer (with tone mapping) only where the gamut is wider."""
    arguments = (
        f"w={width}:h={height}:flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv"
    )
    return arguments + (":out_primaries=bt709:out_transfer=bt709" if look.wide_gamut else "")


def _buffer(look: _Look, time_base: Fraction) -> str:
    return (
        f"video_size={look.width}x{look.height}:pix_fmt={look.pixel_format}:time_base={time_base}:pixel_aspect=1/1"
        f":colorspace={_MATRICES[look.matrix]}:range={'tv' if look.limited else 'pc'}"
    )
