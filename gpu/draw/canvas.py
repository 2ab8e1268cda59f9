"""A small picture with transparency that is painted once and composited over many frames."""

from typing import Self

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu.draw.compositing import FULL, Weights, rgb
from gpu.draw.text import Line
from gpu.media.planes import copy_frame, view_planes

_ROUNDING = np.uint16(FULL // 2)
# BT.709 in limited range: how much red, green and blue (0 to 1) add to Y, U and V above their offsets.
_YUV = np.array(
    [
        [0.2126 * 219, 0.7152 * 219, 0.0722 * 219],
        [-0.2126 / 1.8556 * 224, -0.7152 / 1.8556 * 224, 0.5 * 224],
        [0.5 * 224, -0.7152 / 1.5748 * 224, -0.0722 / 1.5748 * 224],
    ]
)
_OFFSETS = (16, 128, 128)


class Canvas:
    """A transparent picture to paint on; sides are rounded up to even."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width + width % 2, height + height % 2
        self._premultiplied = np.zeros((self.height, self.width, 3))  # RGB, multiplied by alpha
        self._alpha = np.zeros((self.height, self.width))

    def box(
        self, x: float, y: float, width: float, height: float, *, radius: float, color: str, opacity: float
    ) -> Self:
        """Paint a rectangle with round corners; lengths in pixels, `opacity` from 0 to 1."""
        down, across = np.mgrid[0 : self.height, 0 : self.width] + 0.5
        outward_x = np.abs(across - x - width / 2) - width / 2 + radius
        outward_y = np.abs(down - y - height / 2) - height / 2 + radius
        corner = np.hypot(outward_x.clip(0), outward_y.clip(0))
        beyond = corner + np.minimum(np.maximum(outward_x, outward_y), 0) - radius
        self._paint((0.5 - beyond).clip(0, 1) * opacity, 0, 0, color)
        return self

    def text(self, line: Line, x: float, y: float, color: str) -> Self:
        """Paint a line of text whose box has its top left corner at x, y."""
        self._paint(line.alpha / 255, round(x) + line.left, round(y) + line.top, color)
        return self

    def patch(self, x: int, y: int) -> "Patch":
        """Convert to a patch whose top left corner is at x, y of a frame; both even."""
        return Patch(self._premultiplied, self._alpha, x, y)

    def _paint(self, alpha: NDArray[np.float64], x: int, y: int, color: str) -> None:
        """Paint a colour with the opacities `alpha` (0 to 1); what is outside the canvas is cut off."""
        left, top = max(0, x), max(0, y)
        right, bottom = min(self.width, x + alpha.shape[1]), min(self.height, y + alpha.shape[0])
        if left >= right or top >= bottom:
            return
        over = alpha[top - y : bottom - y, left - x : right - x]
        self._alpha[top:bottom, left:right] *= 1 - over
        self._alpha[top:bottom, left:right] += over
        self._premultiplied[top:bottom, left:right] *= 1 - over[..., np.newaxis]
        self._premultiplied[top:bottom, left:right] += over[..., np.newaxis] * np.array(rgb(color))


class Patch:
    """A canvas as Y, U and V, each multiplied by its alpha in 256ths."""

    def __init__(self, light: NDArray[np.float64], alpha: NDArray[np.float64], x: int, y: int) -> None:
        self._places = ((x, y), (x // 2, y // 2), (x // 2, y // 2))
        self._layers = []
        for row, offset, full in zip(_YUV, _OFFSETS, (True, False, False), strict=True):
            covered = alpha if full else _subsample(alpha)
            painted = light @ row if full else _subsample(light @ row)
            kept = FULL - np.rint(covered * FULL)
            added = (painted + covered * offset) * FULL
            self._layers.append(
                (kept.astype(np.uint16), np.rint(added).clip(0, 255 * FULL).astype(np.uint16))
            )

    def over(self, frame: VideoFrame, level: float = 1.0) -> VideoFrame:
        """Return a copy of the frame with the patch on it, at an opacity of `level` (0 to 1)."""
        if level <= 0:
            return frame
        result = copy_frame(frame)
        for plane, (x, y), layer in zip(view_planes(result), self._places, self._layers, strict=True):
            kept, added = layer if level >= 1 else _scale_opacity(*layer, level)
            beneath = plane[y : y + kept.shape[0], x : x + kept.shape[1]]
            height, width = beneath.shape
            mixed = beneath * kept[:height, :width]
            mixed += added[:height, :width]
            mixed += _ROUNDING
            np.copyto(beneath, mixed >> 8, casting="unsafe")
        return result


def _scale_opacity(kept: Weights, added: Weights, level: float) -> tuple[Weights, Weights]:
    """Multiply the opacity of a layer by `level` (0 to 1)."""
    share = np.uint32(round(level * FULL))
    thinner = (FULL - ((FULL - kept) * share >> 8)).astype(np.uint16)
    return thinner, (added * share >> 8).astype(np.uint16)


def _subsample(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each two by two values."""
    mean: NDArray[np.float64] = (
        values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]
    ) / 4
    return mean
