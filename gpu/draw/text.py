"""Measure lines of text of any script, and rasterize them to alpha bitmaps.

HarfBuzz shapes and draws. Pillow's own text needs libfribidi from the machine to join Arabic or place the vowels of
Devanagari, and a fresh machine has none.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import uharfbuzz as hb  # type: ignore[import-untyped]
from numpy.typing import NDArray

from gpu.draw.bidi import reorder_visual
from gpu.draw.fonts import CHINESE, JAPANESE, KOREAN, Typeface, emoji_typeface, typeface
from gpu.draw.graphemes import is_emoji, split_clusters

Alpha = NDArray[np.uint8]

MAX_WIDTH = 16_384
_UNITS = 64
_LEADING_EM = 1.362
_ASCENT_EM = 1.069
_MAX_LISTED = 10
# Drawn with the font of the character before it.
_JOINERS = {"Cf", "Mn", "Mc", "Me"}


@dataclass(frozen=True)
class Line:
    """A rasterized line: its ink as alpha (0 to 255, read-only), cropped to the ink.

    The top left corner of the ink is `left`, `top` pixels from that of the line box (either may be negative). The box
    is `advance` pixels wide and `line_height(size)` high, which is also the distance between the lines of a paragraph.
    """

    alpha: Alpha
    left: int
    top: int
    advance: float


def line_height(size: float) -> int:
    """Return the distance between lines in pixels."""
    return math.ceil(size * _LEADING_EM)


@lru_cache(maxsize=256)
def render_line(text: str, size: float, *, bold: bool = False) -> Line:
    """Rasterize one line of text, `size` pixels per em; line breaks count as spaces."""
    pen = hb.RasterDraw()
    pen.scale_factor = (_UNITS, _UNITS)
    at = 0
    for run, leftward, face in _runs(text):
        font = face.at_size(size, bold=bold)
        for glyph, place in _shape_run(font, run, leftward):
            pen.transform = (1, 0, 0, 1, at + place.x_offset, place.y_offset)
            pen.draw_glyph(font, glyph)
            at += place.x_advance
            if at > MAX_WIDTH * _UNITS:
                break
    left, up, alpha = _rasterize(pen)
    return Line(alpha, left, round(size * _ASCENT_EM) - up, at / _UNITS)


def measure(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line of text in pixels."""
    return _advance(text, bold) * size


@lru_cache(maxsize=4_096)
def _advance(text: str, bold: bool) -> float:
    """Return the width of a line of text in ems."""
    size = 16.0
    total = 0
    for run, leftward, face in _runs(text):
        total += sum(place.x_advance for _, place in _shape_run(face.at_size(size, bold=bold), run, leftward))
    return total / _UNITS / size


def find_undrawable(text: str) -> list[str]:
    """List the clusters of a text that no font has, which are left out when it is drawn."""
    return [
        cluster
        for cluster, face in _assign_typefaces(_compose(text))
        if face is None and _is_visible(cluster)
    ]


def note_undrawable(texts: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence for the timeline on what is left out of the texts, if anything is."""
    missing = list(dict.fromkeys(cluster for text in texts for cluster in find_undrawable(text)))
    if not missing:
        return ()
    more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    return (f"Left out of the text, because no font has it: {' '.join(missing[:_MAX_LISTED])}{more}.",)


@lru_cache(maxsize=1_024)
def drawable_text(text: str) -> str:
    """Return the part of a text that is drawn: composed, without control characters and what no font has.

    Of the spaces around a cluster that is left out, one stays.
    """
    text_drawn = ""
    is_gap = False
    for cluster, face in _assign_typefaces(_compose(text)):
        if face is None:
            is_gap = is_gap or _is_visible(cluster)
        elif not (is_gap and cluster == " " and (not text_drawn or text_drawn.endswith(" "))):
            text_drawn += cluster
            is_gap = is_gap and cluster == " "
    return text_drawn


def _compose(text: str) -> str:
    return "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFC", text)
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cs"}
    )


def _is_visible(cluster: str) -> bool:
    return any(unicodedata.category(char) not in {"Cf", "Mn"} for char in cluster)


def _runs(text: str) -> list[tuple[str, bool, Typeface]]:
    """Return runs of one font and direction in visual order; what no font has is left out."""
    drawable = [
        (cluster, face) for cluster, face in _assign_typefaces(drawable_text(text)) if face is not None
    ]
    faces = [face for cluster, face in drawable for _ in cluster]
    return reorder_visual("".join(cluster for cluster, _ in drawable), lambda at: faces[at])


def _assign_typefaces(text: str) -> Iterator[tuple[str, Typeface | None]]:
    """Yield each cluster with its font, None if no font has it."""
    country = _han_variant(text)
    current: Typeface | None = None
    for cluster in split_clusters(text):
        if is_emoji(cluster):
            yield cluster, emoji_typeface() if _has_glyphs(emoji_typeface(), cluster) else None
            current = None  # the spaces of the emoji font are as wide as an emoji
            continue
        for char in cluster:
            category = unicodedata.category(char)
            neutral = category[0] in "ZPN" or category in _JOINERS
            keeps_face = current is not None and (category == "Cf" or (neutral and current.has(char)))
            if not keeps_face:
                current = typeface(char, country)
            yield char, current


@lru_cache(maxsize=1_024)
def _has_glyphs(face: Typeface, cluster: str) -> bool:
    """Tell whether a font has a glyph for every character of a cluster."""
    return all(glyph != 0 for glyph, _ in _shape_run(face.at_size(_UNITS, bold=False), cluster, False))


def _han_variant(text: str) -> int:
    """Return the country whose forms of Han characters suit the text."""
    if any("\u3040" <= char <= "\u30ff" for char in text):
        return JAPANESE
    return KOREAN if any("\uac00" <= char <= "\ud7a3" for char in text) else CHINESE


def _shape_run(font: hb.Font, run: str, leftward: bool) -> Iterator[tuple[int, hb.GlyphPosition]]:
    buffer = hb.Buffer()
    buffer.add_str(run)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if leftward else "ltr"
    hb.shape(font, buffer)
    for glyph, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        yield glyph.codepoint, place


def _rasterize(pen: hb.RasterDraw) -> tuple[int, int, Alpha]:
    """Return the ink's left edge from the origin, its top above the baseline, and the ink.

    HarfBuzz gives the rows from bottom to top.
    """
    image = pen.render()
    extents = image.extents
    rows = np.frombuffer(image.buffer, np.uint8).reshape(extents.height, max(extents.stride, 1))
    alpha = np.ascontiguousarray(rows[::-1, : extents.width])
    alpha.flags.writeable = False
    return extents.x_origin, extents.y_origin + extents.height, alpha
