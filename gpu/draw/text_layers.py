"""Texts laid over frames: broken into lines, put in their place, with what makes them legible on any footage."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from av.video.frame import VideoFrame

from gpu.draw.compositing import Mask, Yuv, coat, is_dark, rgb, stencil, yuv
from gpu.draw.text import Alpha, Line, line_height, measure, render_line, wrap
from gpu.spec import TextLayer, TextOutline

# Shares of the size, and of the picture's shorter side.
_OUTLINE, _WIDEST_OUTLINE = 0.07, 12.0
_EDGE = 0.02
_ALIGNMENTS = {"left": 0.0, "center": 0.5, "right": 1.0}


@dataclass(frozen=True)
class Coat:
    """One colour of a text, where it is, and how much it covers."""

    mask: Mask
    color: Yuv
    opacity: float


@dataclass(frozen=True)
class Caption:
    """A text as it is laid over the frames from `start` to `end`, in seconds."""

    start: float
    end: float
    coats: tuple[Coat, ...]

    def draw(self, frame: VideoFrame) -> None:
        """Draw the text on a frame."""
        for each in self.coats:
            coat(frame, each.mask, each.color, each.opacity)


@dataclass(frozen=True)
class _Block:
    """Lines of a text and where they stand together, in pixels."""

    lines: tuple[Line, ...]
    left: float
    top: float
    width: float
    height: int


def caption(layer: TextLayer, width: int, height: int) -> Caption:
    """Lay a text out on frames of a size."""
    block = _place(layer, width, height)
    return Caption(layer.start_time, layer.end_time, tuple(_coats(layer, block, width, height)))


def _place(layer: TextLayer, width: int, height: int) -> _Block:
    """Break a text into lines and put it where its anchor is meant to be.

    What would run out of the picture is moved inside, unless it was told how wide to be, or to stand outside.
    """
    across, down = _anchor(layer)
    edge = _EDGE * min(width, height)
    limit = layer.max_width or _room(layer, across, width, edge)
    texts = wrap(layer.text, layer.size, limit) if limit else layer.text.splitlines()
    lines = tuple(render_line(text, layer.size) for text in texts)
    wide = max((line.advance for line in lines), default=0.0)
    high = line_height(layer.size) * len(lines)
    left, top = layer.x - across * wide, layer.y - down * high
    if layer.max_width is None and 0 <= layer.x <= width and 0 <= layer.y <= height:
        left, top = _inside(left, wide, width, edge), _inside(top, high, height, 0.0)
    return _Block(lines, left, top, wide, high)


def _anchor(layer: TextLayer) -> tuple[float, float]:
    """Which shares of a text's width and height lie before its place."""
    across = 1.0 if "right" in layer.anchor else 0.0 if "left" in layer.anchor else 0.5
    down = 1.0 if "bottom" in layer.anchor else 0.0 if "top" in layer.anchor else 0.5
    return across, down


def _room(layer: TextLayer, across: float, width: int, edge: float) -> float | None:
    """How wide a text may be at its place, at least its longest word; None where it stands outside the picture."""
    if not 0 <= layer.x <= width:
        return None
    before = layer.x / across if across else float("inf")
    after = (width - layer.x) / (1 - across) if across < 1 else float("inf")
    longest = max((measure(word, layer.size) for word in layer.text.split()), default=0.0)
    return max(min(before, after) - edge, min(longest + 1, width - 2 * edge), layer.size / 2)


def _inside(start: float, length: float, frame: int, edge: float) -> float:
    """Move a text inside the picture if it sticks out of it; what is too long begins where the picture does."""
    return max(0.0, min(start, frame - edge - length))


def _coats(layer: TextLayer, block: _Block, width: int, height: int) -> Iterator[Coat]:
    """The box, the outline of all lines, the lines; only what is seen."""
    if layer.box is not None:
        padding = layer.box.padding
        alpha = np.full((round(block.height + 2 * padding), round(block.width + 2 * padding)), 255, np.uint8)
        shape = stencil(alpha, round(block.left - padding), round(block.top - padding), width, height)
        if shape is not None:
            yield Coat(shape, yuv(rgb(layer.box.color)), layer.box.opacity)
    outline = _outline(layer)
    places = list(_line_places(layer, block))
    if outline.width:
        reach = ceil(outline.width)
        for line, left, top in places:
            shape = stencil(grow(line.alpha, outline.width), left - reach, top - reach, width, height)
            if shape is not None:
                yield Coat(shape, yuv(rgb(outline.color)), 1.0)
    for line, left, top in places:
        shape = stencil(line.alpha, left, top, width, height)
        if shape is not None:
            yield Coat(shape, yuv(rgb(layer.color)), 1.0)


def _outline(layer: TextLayer) -> TextOutline:
    """The outline that is asked for, or the usual one where nothing else makes the text stand out."""
    if layer.outline is not None:
        return layer.outline
    usual = 0.0 if layer.box is not None else max(1.0, min(_WIDEST_OUTLINE, _OUTLINE * layer.size))
    return TextOutline(width=usual, color="#ffffff" if is_dark(layer.color) else "#000000")


def _line_places(layer: TextLayer, block: _Block) -> Iterator[tuple[Line, int, int]]:
    """Each line with the corner of its ink."""
    share = _ALIGNMENTS[layer.align] if layer.align is not None else _anchor(layer)[0]
    for number, line in enumerate(block.lines):
        left = round(block.left + share * (block.width - line.advance)) + line.left
        yield line, left, round(block.top) + number * line_height(layer.size) + line.top


def grow(alpha: Alpha, reach: float) -> Alpha:
    """Every spot of ink as a round one, `reach` pixels larger on every side."""
    edge = ceil(reach)
    rows, columns = alpha.shape
    grown = np.zeros((rows + 2 * edge, columns + 2 * edge), np.uint8)
    for down in range(-edge, edge + 1):
        half = int(sqrt(max(0.0, (reach + 0.5) ** 2 - down**2)))
        wide = _widened(alpha, min(half, edge))
        target = grown[edge + down : edge + down + rows, edge - min(half, edge) :][:, : wide.shape[1]]
        np.maximum(target, wide, out=target)
    return grown


def _widened(alpha: Alpha, half: int) -> Alpha:
    """The most ink within `half` pixels to either side, for that many columns more on both; by doubling steps."""
    wide = np.pad(alpha, ((0, 0), (2 * half, 2 * half)))
    reached, span = 1, 2 * half + 1
    while reached < span:
        step = min(reached, span - reached)
        wide = np.maximum(wide[:, :-step], wide[:, step:])
        reached += step
    return wide
