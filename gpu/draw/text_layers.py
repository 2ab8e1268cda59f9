"""Lay out text layers: break lines, position them, add outline or box so that they are legible on any footage."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from av.video.frame import VideoFrame

from gpu.draw.compositing import Mask, Yuv, is_dark, mask_from_alpha, paint_solid, rgb, yuv
from gpu.draw.line_breaking import wrap
from gpu.draw.text import Alpha, Line, line_height, measure, render_line
from gpu.draw.text_config import TextLayer, TextOutline

# Fractions of the text size, and of the shorter side of the picture.
_OUTLINE_WIDTH, _MAX_OUTLINE_WIDTH = 0.07, 12.0
_MARGIN = 0.02
_ALIGNMENTS = {"left": 0.0, "center": 0.5, "right": 1.0}


@dataclass(frozen=True)
class PaintedMask:
    """A mask with its colour and opacity."""

    mask: Mask
    color: Yuv
    opacity: float


@dataclass(frozen=True)
class Caption:
    """A text that is drawn on frames from `start` to `end`, in seconds."""

    start: float
    end: float
    masks: tuple[PaintedMask, ...]

    def is_visible(self, time: float) -> bool:
        """Tell whether anything of the text is visible at `time` seconds."""
        return self.start <= time < self.end and bool(self.masks)

    def draw(self, frame: VideoFrame) -> None:
        """Draw the text on a frame, in place."""
        for painted in self.masks:
            paint_solid(frame, painted.mask, painted.color, painted.opacity)


@dataclass(frozen=True)
class _Block:
    """The lines of a text and their common position, in pixels."""

    lines: tuple[Line, ...]
    left: float
    top: float
    width: float
    height: int


def lay_out_caption(layer: TextLayer, width: int, height: int) -> Caption:
    """Lay out a text on frames of the given size."""
    block = _lay_out(layer, width, height)
    return Caption(layer.start_time, layer.end_time, tuple(_paint_layers(layer, block, width, height)))


def _lay_out(layer: TextLayer, width: int, height: int) -> _Block:
    """Break a text into lines and place its anchor.

    A text that would leave the picture is moved inside, unless it has a `max_width` or its anchor is outside.
    """
    across, down = _anchor_fractions(layer)
    edge = _MARGIN * min(width, height)
    limit = layer.max_width or _available_width(layer, across, width, edge)
    texts = wrap(layer.text, layer.size, limit) if limit else layer.text.splitlines()
    lines = tuple(render_line(text, layer.size) for text in texts)
    wide = max((line.advance for line in lines), default=0.0)
    high = line_height(layer.size) * len(lines)
    left, top = layer.x - across * wide, layer.y - down * high
    if layer.max_width is None and 0 <= layer.x <= width and 0 <= layer.y <= height:
        left, top = _move_inside(left, wide, width, edge), _move_inside(top, high, height, 0.0)
    return _Block(lines, left, top, wide, high)


def _anchor_fractions(layer: TextLayer) -> tuple[float, float]:
    """Return the anchor as fractions of the text's width and height."""
    across = 1.0 if "right" in layer.anchor else 0.0 if "left" in layer.anchor else 0.5
    down = 1.0 if "bottom" in layer.anchor else 0.0 if "top" in layer.anchor else 0.5
    return across, down


def _available_width(layer: TextLayer, across: float, width: int, edge: float) -> float | None:
    """Return the width that a text may take, at least its longest word; None if its anchor is outside the picture."""
    if not 0 <= layer.x <= width:
        return None
    before = layer.x / across if across else float("inf")
    after = (width - layer.x) / (1 - across) if across < 1 else float("inf")
    longest = max((measure(word, layer.size) for word in layer.text.split()), default=0.0)
    return max(min(before, after) - edge, min(longest + 1, width - 2 * edge), layer.size / 2)


def _move_inside(start: float, length: float, frame: int, edge: float) -> float:
    """Move a text into the picture; one that is too long begins at the picture's edge."""
    return max(0.0, min(start, frame - edge - length))


def _paint_layers(layer: TextLayer, block: _Block, width: int, height: int) -> Iterator[PaintedMask]:
    """Yield the visible masks in drawing order: box, outlines, lines."""
    if layer.box is not None:
        padding = layer.box.padding
        alpha = np.full((round(block.height + 2 * padding), round(block.width + 2 * padding)), 255, np.uint8)
        shape = mask_from_alpha(alpha, round(block.left - padding), round(block.top - padding), width, height)
        if shape is not None:
            yield PaintedMask(shape, yuv(rgb(layer.box.color)), layer.box.opacity)
    outline = _choose_outline(layer)
    places = list(_place_lines(layer, block))
    if outline.width:
        reach = ceil(outline.width)
        for line, left, top in places:
            shape = mask_from_alpha(
                dilate(line.alpha, outline.width), left - reach, top - reach, width, height
            )
            if shape is not None:
                yield PaintedMask(shape, yuv(rgb(outline.color)), 1.0)
    for line, left, top in places:
        shape = mask_from_alpha(line.alpha, left, top, width, height)
        if shape is not None:
            yield PaintedMask(shape, yuv(rgb(layer.color)), 1.0)


def _choose_outline(layer: TextLayer) -> TextOutline:
    """Return the configured outline, or the default one for a text without a box."""
    if layer.outline is not None:
        return layer.outline
    width = 0.0 if layer.box is not None else max(1.0, min(_MAX_OUTLINE_WIDTH, _OUTLINE_WIDTH * layer.size))
    return TextOutline(width=width, color="#ffffff" if is_dark(layer.color) else "#000000")


def _place_lines(layer: TextLayer, block: _Block) -> Iterator[tuple[Line, int, int]]:
    """Yield each line with the top left corner of its ink."""
    fraction = _ALIGNMENTS[layer.align] if layer.align is not None else _anchor_fractions(layer)[0]
    for number, line in enumerate(block.lines):
        left = round(block.left + fraction * (block.width - line.advance)) + line.left
        yield line, left, round(block.top) + number * line_height(layer.size) + line.top


def dilate(alpha: Alpha, reach: float) -> Alpha:
    """Dilate the ink by a disk with a radius of `reach` pixels."""
    edge = ceil(reach)
    rows, columns = alpha.shape
    dilated = np.zeros((rows + 2 * edge, columns + 2 * edge), np.uint8)
    for down in range(-edge, edge + 1):
        half = int(sqrt(max(0.0, (reach + 0.5) ** 2 - down**2)))
        wide = _dilate_rows(alpha, min(half, edge))
        target = dilated[edge + down : edge + down + rows, edge - min(half, edge) :][:, : wide.shape[1]]
        np.maximum(target, wide, out=target)
    return dilated


def _dilate_rows(alpha: Alpha, half: int) -> Alpha:
    """Return the maximum within `half` pixels to either side, `half` columns wider on both; by doubling steps."""
    wide = np.pad(alpha, ((0, 0), (2 * half, 2 * half)))
    reached, span = 1, 2 * half + 1
    while reached < span:
        step = min(reached, span - reached)
        wide = np.maximum(wide[:, :-step], wide[:, step:])
        reached += step
    return wide
