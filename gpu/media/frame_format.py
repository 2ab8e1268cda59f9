"""Read the properties of decoded frames: size, rotation, pixel format and colours."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame

from gpu.media.filters import Step
from gpu.media.tone_map import HLG, PQ

# Colour properties by FFmpeg's numbers.
BT709 = 1
LIMITED_RANGE, FULL_RANGE = 1, 2
_UNSPECIFIED = 2
_BT2020_PRIMARIES = 9
_BT2020_MATRIX = 9
MATRIX_NAMES = {
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
SQUARE_PIXELS = Fraction(1)

Chain = tuple[Step, ...]


@dataclass(frozen=True)
class InputFormat:
    """The properties of a frame that decide which filters it needs."""

    width: int
    height: int
    aspect: Fraction
    pixel_format: str
    matrix: int
    limited: bool
    primaries: int
    transfer: int
    interlaced: bool
    rotation: Chain

    @property
    def hdr(self) -> bool:
        return self.transfer in {PQ, HLG}

    @property
    def wide_gamut(self) -> bool:
        return self.primaries == _BT2020_PRIMARIES or self.hdr


def display_size(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Return width and height as displayed: with square pixels, then rotated upright."""
    return upright_size(frame.width, frame.height, aspect or SQUARE_PIXELS, rotation_filters(frame))


def read_format(frame: VideoFrame, rotation: Chain, aspect: Fraction) -> InputFormat:
    """Return a frame's properties, with the usual colour matrix where none is tagged."""
    matrix = frame.colorspace
    if matrix == _UNSPECIFIED or matrix not in MATRIX_NAMES:
        matrix = _BT2020_MATRIX if frame.color_trc in {PQ, HLG} else _default_matrix(frame)
    if "rgb" in frame.format.name or "gbr" in frame.format.name:
        matrix = 0
    return InputFormat(
        width=frame.width,
        height=frame.height,
        aspect=aspect,
        pixel_format=frame.format.name,
        matrix=matrix,
        limited=frame.color_range != FULL_RANGE and not frame.format.name.startswith("yuvj") and matrix != 0,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        interlaced=frame.interlaced_frame,
        rotation=rotation,
    )


def _default_matrix(frame: VideoFrame) -> int:
    return BT709 if frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT else _SD_MATRIX


def upright_size(width: int, height: int, aspect: Fraction, rotation: Chain) -> tuple[int, int]:
    """Return width and height with square pixels, after the rotation."""
    if aspect != 1:
        width = max(2, round(width * aspect))
    return (height, width) if is_sideways(rotation) else (width, height)


def rotation_filters(frame: VideoFrame) -> Chain:
    """Return the filters that rotate a frame upright.

    Its display matrix is (a, b, u, c, d, v, x, y, w), where a is the cosine of the angle.
    """
    side_data = cast(SideDataContainer, frame.side_data).get(Type.DISPLAYMATRIX)
    if side_data is None:
        return ()
    a, b, _, c, d, *_ = (int(number) for number in np.frombuffer(side_data, np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (("hflip", ""),) * (a < 0) + (("vflip", ""),) * (d < 0)
    return (("transpose", f"dir={_TRANSPOSES[c < 0, b < 0]}"),)


def is_sideways(rotation: Chain) -> bool:
    return any(name == "transpose" for name, _ in rotation)
