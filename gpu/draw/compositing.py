"""Painting on yuv420p frames: colours as bt709 limited, masks with soft edges, mixing in whole numbers.

Weights run from 0 (nothing) to 256 (all), so that a product with a sample and its rounding fit 16 bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu.media.planes import Plane, blank, planes

Weights = NDArray[np.uint16]
Color = tuple[float, float, float]
Yuv = tuple[int, int, int]

FULL = 256
_HALF = np.uint16(FULL // 2)
_BITS = np.uint16(8)
_LOW, _GREY = 16, 128
_HIGHEST_LUMA, _HIGHEST_CHROMA = 235, 240
BLACK: Yuv = (_LOW, _GREY, _GREY)
# White and black stand out equally from a colour of this luminance.
_EVEN_LUMINANCE = 0.179
_BAND_SAMPLES = 32_768
_KR, _KG, _KB = 0.2126, 0.7152, 0.0722


@dataclass(frozen=True)
class Mask:
    """How much of each pixel is covered, in weights; its top left corner lies at even coordinates of the frame.

    `luma` has even sides, and `chroma` half of them.
    """

    left: int
    top: int
    luma: Weights
    chroma: Weights

    def over(self, frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
        """The samples of the frame that the mask lies on: views, not copies."""
        luma, blue, red = planes(frame)
        rows, columns = _place(self.top, self.left, self.luma)
        fine = luma[rows, columns]
        rows, columns = _place(self.top // 2, self.left // 2, self.chroma)
        return fine, blue[rows, columns], red[rows, columns]


def _place(top: int, left: int, weights: Weights) -> tuple[slice, slice]:
    return slice(top, top + weights.shape[0]), slice(left, left + weights.shape[1])


def mask(luma: Weights, left: int, top: int) -> Mask:
    """A mask of weights that have even sides, at an even place; chroma is covered as its four pixels are."""
    sums = luma[0::2, 0::2] + luma[0::2, 1::2] + luma[1::2, 0::2] + luma[1::2, 1::2]
    return Mask(left, top, luma, (sums + np.uint16(2)) >> np.uint16(2))


def stencil(alpha: NDArray[np.uint8], left: int, top: int, width: int, height: int) -> Mask | None:
    """A mask of an alpha bitmap whose corner is at any place of a frame of even sides; None where nothing is seen."""
    above, before = max(0, -top), max(0, -left)
    seen = alpha[above : max(above, height - top), before : max(before, width - left)]
    if seen.size == 0:
        return None
    left, top = left + before, top + above
    odd = ((top % 2, (top + seen.shape[0]) % 2), (left % 2, (left + seen.shape[1]) % 2))
    weights = np.pad(seen, odd).astype(np.uint16)
    return mask(weights + (weights >> np.uint16(7)), left - left % 2, top - top % 2)


def rgb(color: str) -> Color:
    """`#rrggbb` as three shares from 0 to 1."""
    red, green, blue = bytes.fromhex(color[1:])
    return red / 255, green / 255, blue / 255


def is_dark(color: str) -> bool:
    """Whether white stands out more from a colour than black (WCAG's relative luminance, its curve a power)."""
    red, green, blue = (part**2.2 for part in rgb(color))
    return bool(_KR * red + _KG * green + _KB * blue < _EVEN_LUMINANCE)


def background_yuv(color: str) -> Yuv:
    """A background, `black` or `#rrggbb`, as samples."""
    return BLACK if color == "black" else yuv(rgb(color))


def yuv(color: Color) -> Yuv:
    """A colour as the samples of bt709 in limited range."""
    red, green, blue = color
    luma = _KR * red + _KG * green + _KB * blue
    return (
        round(16 + 219 * luma),
        round(128 + 112 * (blue - luma) / (1 - _KB)),
        round(128 + 112 * (red - luma) / (1 - _KR)),
    )


def coat(frame: VideoFrame, shape: Mask, color: Yuv, opacity: float) -> None:
    """Lay a colour over the frame where the mask is."""
    for target, sample, weights in zip(shape.over(frame), color, _by_plane(shape, opacity), strict=True):
        mix(target, np.uint16(sample), weights)


def show_through(frame: VideoFrame, other: VideoFrame, shape: Mask, opacity: float) -> None:
    """Let another frame of the same size be seen where the mask is."""
    both = zip(shape.over(frame), shape.over(other), _by_plane(shape, opacity), strict=True)
    for target, source, weights in both:
        mix(target, source, weights)


def lighten(frame: VideoFrame, original: VideoFrame, shape: Mask, strength: float, opacity: float) -> None:
    """Show the original with every colour stronger by a share, 0.2 being a fifth, where the mask is."""
    tables = (_stretched(_LOW, strength), *(_stretched(_GREY, strength),) * 2)
    places = zip(shape.over(frame), shape.over(original), tables, _by_plane(shape, opacity), strict=True)
    for target, source, table, weights in places:
        for band in bands(*target.shape):
            mix(target[band], table[source[band]], weights[band])


def dimmed(frame: VideoFrame, strength: float) -> VideoFrame:
    """A new frame: this one under a black of the given opacity."""
    kept = round(FULL * (1 - strength))
    darker = blank(frame)
    for target, source, black in zip(planes(darker), planes(frame), BLACK, strict=True):
        rest = np.uint16(black * (FULL - kept) + _HALF)
        for band in bands(*target.shape):
            product = np.multiply(source[band], np.uint16(kept), dtype=np.uint16)
            product += rest
            product >>= _BITS
            np.copyto(target[band], product, casting="unsafe")
    return darker


def mix(target: Plane, source: Plane | np.uint16, weights: Weights) -> None:
    """Mix the source into the target, in place, by weight."""
    for band in bands(*target.shape):
        weight = weights[band]
        mixed = np.multiply(target[band], np.uint16(FULL) - weight, dtype=np.uint16)
        mixed += np.multiply(
            source if isinstance(source, np.uint16) else source[band], weight, dtype=np.uint16
        )
        mixed += _HALF
        mixed >>= _BITS
        np.copyto(target[band], mixed, casting="unsafe")


def bands(rows: int, columns: int) -> Iterator[slice]:
    """Some rows at a time: what is worked out in between stays in the processor's cache, three times as fast."""
    step = max(1, _BAND_SAMPLES // max(1, columns))
    return (slice(top, min(top + step, rows)) for top in range(0, rows, step))


def _by_plane(shape: Mask, opacity: float) -> tuple[Weights, Weights, Weights]:
    share = round(opacity * FULL)
    if share >= FULL:
        return shape.luma, shape.chroma, shape.chroma
    fine, coarse = ((weights * np.uint16(share) + _HALF) >> _BITS for weights in (shape.luma, shape.chroma))
    return fine, coarse, coarse


def _stretched(rest: int, strength: float) -> Plane:
    """A table that moves samples away from `rest`, and keeps them in range."""
    samples = rest + (np.arange(256) - rest) * (1 + strength)
    highest = _HIGHEST_LUMA if rest == _LOW else _HIGHEST_CHROMA
    table: Plane = np.rint(samples).clip(_LOW, highest).astype(np.uint8)
    return table
