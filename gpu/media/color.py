"""Every picture made alike: upright, progressive, square pixels, yuv420p, bt709 limited, one size.

A frame that is so already passes untouched. Whatever an export draws, it draws on such frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import cast

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from gpu.media.filters import LOOKUP_TABLE, OVERLAY_ON_COLOR, Step, build_graph, pull_frames
from gpu.media.fit import Box, fit_box
from gpu.media.tone_map import HLG, PQ, write_table

PIXEL_FORMAT = "yuv420p"
BT709 = 1
LIMITED_RANGE = 1
_UNSPECIFIED = 2
_FULL = 2
_BT2020_PRIMARIES = 9
_BT2020_MATRIX = 9
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
_SQUARE = Fraction(1)
_PRECISE = "flags=bicubic+accurate_rnd+full_chroma_int"
BLACK = "black"

Chain = tuple[Step, ...]


@dataclass(frozen=True)
class _Look:
    """What decides which filters a frame needs; a new look mid-stream builds a new graph."""

    width: int
    height: int
    aspect: Fraction
    pixel_format: str
    matrix: int
    limited: bool
    primaries: int
    transfer: int
    interlaced: bool
    turn: Chain

    @property
    def hdr(self) -> bool:
        return self.transfer in {PQ, HLG}

    @property
    def wide_gamut(self) -> bool:
        return self.primaries == _BT2020_PRIMARIES or self.hdr


class FrameConverter:
    """Frames as decoded in, frames as above out, `width` x `height` pixels.

    Pictures of another shape are fitted in, with bars; behind them and behind what is transparent is the background.
    """

    def __init__(self, width: int, height: int, time_base: Fraction, background: str = BLACK) -> None:
        self._size = (width, height)
        self._time_base = time_base
        self._background = background
        self._look: _Look | None = None
        self._turned: tuple[int, Chain] | None = None
        self._graph: Graph | None = None

    def push(self, frame: VideoFrame, aspect: Fraction = _SQUARE) -> Iterator[VideoFrame]:
        """Take one frame with pixels of a shape; deinterlacing gives frames back one later."""
        look = _look(frame, self._turn(frame), aspect)
        if look != self._look:
            yield from self.flush()
            self._look, self._graph = look, self._built(look)
        if self._graph is None:
            yield frame
            return
        frame.colorspace = look.matrix
        frame.color_range = LIMITED_RANGE if look.limited else _FULL
        self._graph.push(frame)
        yield from pull_frames(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        """Give back what is still held, at the end or where the look changes."""
        if self._graph is not None:
            self._graph.push(None)
            yield from pull_frames(self._graph)
            self._graph = None

    def _turn(self, frame: VideoFrame) -> Chain:
        """As `_turn`, looked up only where the angle changes.

        Reading a frame's side data ties the two in a cycle, which holds the picture until the next collection.
        """
        if self._turned is None or self._turned[0] != frame.rotation:
            self._turned = frame.rotation, _turn(frame)
        return self._turned[1]

    def _built(self, look: _Look) -> Graph | None:
        chain = _chain(look, *self._size, self._background)
        return build_graph(_buffer(look, self._time_base), *chain) if chain else None


def display_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of the picture as shown: pixels made square, then turned upright."""
    return _upright(frame.width, frame.height, aspect or _SQUARE, _turn(frame))


def is_output_ready(frame: VideoFrame, width: int, height: int) -> bool:
    """Whether a frame is what an output promises, in a size, and says so itself: nothing about it is guessed."""
    tags = {frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range}
    return tags == {BT709} and not _chain(_look(frame, _turn(frame), _SQUARE), width, height, BLACK)


def _look(frame: VideoFrame, turn: Chain, aspect: Fraction) -> _Look:
    matrix = frame.colorspace
    if matrix == _UNSPECIFIED or matrix not in _MATRICES:
        matrix = _BT2020_MATRIX if frame.color_trc in {PQ, HLG} else _usual_matrix(frame)
    if "rgb" in frame.format.name or "gbr" in frame.format.name:
        matrix = 0
    return _Look(
        width=frame.width,
        height=frame.height,
        aspect=aspect,
        pixel_format=frame.format.name,
        matrix=matrix,
        limited=frame.color_range != _FULL and not frame.format.name.startswith("yuvj") and matrix != 0,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        interlaced=frame.interlaced_frame,
        turn=turn,
    )


def _usual_matrix(frame: VideoFrame) -> int:
    return BT709 if frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT else _SD_MATRIX


def _upright(width: int, height: int, aspect: Fraction, turn: Chain) -> tuple[int, int]:
    if aspect != 1:
        width = max(2, round(width * aspect))
    return (height, width) if _sideways(turn) else (width, height)


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


def _chain(look: _Look, width: int, height: int, background: str) -> Chain:
    """The filters in order, with their arguments; none for a frame that needs nothing."""
    chain: Chain = (("bwdif", "mode=send_frame:deint=interlaced"),) if look.interlaced else ()
    chain += look.turn
    upright = _upright(look.width, look.height, look.aspect, look.turn)
    place = Box(0, 0, width, height) if upright == (width, height) else fit_box(*upright, width, height)
    stored = (look.height, look.width) if _sideways(look.turn) else (look.width, look.height)
    alike = (
        look.pixel_format == PIXEL_FORMAT and look.matrix == BT709 and look.limited and not look.wide_gamut
    )
    if has_alpha(look.pixel_format):
        chain += (("scale", f"{_PRECISE}:out_range=pc"), ("format", "rgba"), (OVERLAY_ON_COLOR, background))
    if stored != (place.width, place.height) or not alike:
        chain += _converted(look, f"w={place.width}:h={place.height}")
    return (
        chain
        if (place.width, place.height) == (width, height)
        else (*chain, *_padded(place, width, height, background))
    )


def _padded(place: Box, width: int, height: int, background: str) -> Chain:
    """The filters that put bars around a picture; those of FFmpeg's make even sides, so odd ones are cut off."""
    even_size = f"w={width + width % 2}:h={height + height % 2}"
    bars: Chain = (("pad", f"{even_size}:x={place.x}:y={place.y}:color={background}"),)
    if width % 2 or height % 2:
        bars += (("crop", f"w={width}:h={height}:x=0:y=0:exact=1"),)
    return (*bars, ("setsar", "1"))


def _converted(look: _Look, size: str) -> Chain:
    """The filters that scale a picture and give it an output's pixels and colours."""
    to_output = f"{_PRECISE}:out_color_matrix=bt709:out_range=tv"
    end: Chain = (("format", PIXEL_FORMAT), ("setsar", "1"))
    if not look.hdr:
        gamut = ":out_primaries=bt709:out_transfer=bt709" if look.wide_gamut else ""
        return (("scale", f"{size}:{to_output}{gamut}"), *end)
    return (
        ("scale", f"{size}:{_PRECISE}:out_range=pc"),
        ("format", "gbrp10le"),
        (LOOKUP_TABLE, write_table(look.transfer, look.primaries)),
        ("setparams", "color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc"),
        ("scale", to_output),
        *end,
    )


@cache
def has_alpha(pixel_format: str) -> bool:
    """Whether pixels of a format may be transparent."""
    described = VideoFormat(pixel_format)
    return described.has_palette or any(component.is_alpha for component in described.components)


def _buffer(look: _Look, time_base: Fraction) -> str:
    return (
        f"video_size={look.width}x{look.height}:pix_fmt={look.pixel_format}:time_base={time_base}:pixel_aspect=1/1"
        f":colorspace={_MATRICES[look.matrix]}:range={'tv' if look.limited else 'pc'}"
    )
