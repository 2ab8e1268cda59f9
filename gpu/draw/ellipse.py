"""Masks of an ellipse: inside, stroke, and a dark rim that keeps the stroke visible on any background."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gpu.draw.compositing import FULL, Mask, mask_from_luma, row_bands

# Positions and radii are rounded to 1/8 pixel, which is invisible: smaller movements reuse the cached mask.
_STEPS = 8
_SMALLEST_RADIUS = 0.5

Distances = NDArray[np.float32]

_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Ellipse:
    """Centre and radii, in pixels of the frame from its top left corner."""

    x: float
    y: float
    radius_x: float
    radius_y: float


@dataclass(frozen=True)
class EllipseMasks:
    """The masks of an ellipse; `stroke` and `rim` are None without a stroke."""

    inside: Mask
    stroke: Mask | None = None
    rim: Mask | None = None


def draw_ellipse(ellipse: Ellipse, stroke_width: float, width: int, height: int) -> EllipseMasks | None:
    """Return the masks in a frame of even `width` and `height`, or None if the ellipse is outside.

    `stroke_width` is in pixels.
    """
    x, y = round(ellipse.x * _STEPS) / _STEPS, round(ellipse.y * _STEPS) / _STEPS
    radius_x, radius_y = _round_radius(ellipse.radius_x), _round_radius(ellipse.radius_y)
    reach = 1 + stroke_width / 2 + rim_width(stroke_width)
    left, right = _span(x, radius_x + reach, width)
    top, bottom = _span(y, radius_y + reach, height)
    if left >= right or top >= bottom:
        return None
    near = Ellipse(x - left, y - top, radius_x, radius_y)
    inside, *lines = (
        replace(mask, left=left, top=top) for mask in _masks(near, stroke_width, right - left, bottom - top)
    )
    return EllipseMasks(inside, *lines)


def rim_width(stroke_width: float) -> float:
    """Return the width of the dark rim on either side of the stroke, in pixels."""
    return max(1.0, stroke_width / 3) if stroke_width else 0.0


def _round_radius(radius: float) -> float:
    return max(_SMALLEST_RADIUS, round(radius * _STEPS) / _STEPS)


def _span(centre: float, reach: float, length: int) -> tuple[int, int]:
    """Return the even bounds of the ellipse along an axis, clipped to the frame."""
    low, high = 2 * math.floor((centre - reach) / 2), 2 * math.ceil((centre + reach) / 2)
    return max(0, low), min(length, high)


@lru_cache(maxsize=4)
def _masks(ellipse: Ellipse, stroke_width: float, width: int, height: int) -> tuple[Mask, ...]:
    """Return inside, and stroke and rim if there is a stroke; cached, since ellipses often stay in place."""
    middle = stroke_width / 2
    reaches = (middle, middle + rim_width(stroke_width)) if stroke_width else ()
    weights = [np.empty((height, width), np.uint16) for _ in range(1 + len(reaches))]
    for band in row_bands(height, width):
        away = _distance(ellipse, width, band)
        np.copyto(weights[0][band], _coverage(-away), casting="unsafe")
        distance = np.abs(away, out=away)
        for reach, covered in zip(reaches, weights[1:], strict=True):
            np.copyto(covered[band], _coverage(np.float32(reach) - distance), casting="unsafe")
    return tuple(mask_from_luma(luma, 0, 0) for luma in weights)


def _distance(ellipse: Ellipse, width: int, rows: slice) -> Distances:
    """Return the distance of each pixel's centre from the edge in pixels, negative inside; exact near the edge."""
    radius_x, radius_y = np.float32(ellipse.radius_x), np.float32(ellipse.radius_y)
    across = (np.arange(width, dtype=np.float32) + np.float32(0.5 - ellipse.x)) / radius_x
    down = (np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5 - ellipse.y)) / radius_y
    steep = np.add.outer((down / radius_y) ** 2, (across / radius_x) ** 2)
    np.sqrt(np.maximum(steep, _TINY, out=steep), out=steep)
    level: Distances = np.add.outer(down**2, across**2)
    level -= np.sqrt(level)
    level /= steep
    return level


def _coverage(within: Distances) -> Distances:
    """Return the weight of each pixel whose centre is `within` pixels inside an edge."""
    within *= np.float32(FULL)
    within += np.float32(FULL / 2 + 0.5)
    return np.clip(within, 0, FULL, out=within)
