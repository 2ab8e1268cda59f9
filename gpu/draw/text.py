"""Text as pixels: any script, shaped, both directions, broken into lines; an alpha bitmap for who paints it.

Shaped and drawn by HarfBuzz. Pillow's own text needs libfribidi from the machine to join Arabic or place Devanagari's
vowels, and a fresh machine has none.
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
_ELLIPSIS = "…"
_MOST_NAMED = 10
# Written together with what stands before it, whatever font that is.
_JOINERS = {"Cf", "Mn", "Mc", "Me"}


@dataclass(frozen=True)
class Line:
    """A drawn line: its ink as alpha (0 to 255, read-only), cut to the ink's edges.

    The ink's top left corner lies `left`, `top` pixels from the line box's (either may be negative); the box is
    `advance` pixels wide and `line_height(size)` high, so lines of a paragraph stand that far apart.
    """

    alpha: Alpha
    left: int
    top: int
    advance: float


def line_height(size: float) -> int:
    """From one line to the next, in pixels."""
    return math.ceil(size * _LEADING_EM)


@lru_cache(maxsize=256)
def render_line(text: str, size: float, *, bold: bool = False) -> Line:
    """Draw one line of text, `size` pixels to the em; line breaks count as spaces."""
    pen = hb.RasterDraw()
    pen.scale_factor = (_UNITS, _UNITS)
    at = 0
    for run, leftward, face in _runs(text):
        font = face.sized(size, bold=bold)
        for glyph, place in _shaped(font, run, leftward):
            pen.transform = (1, 0, 0, 1, at + place.x_offset, place.y_offset)
            pen.draw_glyph(font, glyph)
            at += place.x_advance
            if at > MAX_WIDTH * _UNITS:
                break
    left, up, alpha = _drawn(pen)
    return Line(alpha, left, round(size * _ASCENT_EM) - up, at / _UNITS)


def measure(text: str, size: float, *, bold: bool = False) -> float:
    """How far a line of text reaches, in pixels."""
    return _advance(text, bold) * size


@lru_cache(maxsize=4_096)
def _advance(text: str, bold: bool) -> float:
    """How far a text reaches, in ems."""
    size = 16.0
    total = 0
    for run, leftward, face in _runs(text):
        total += sum(place.x_advance for _, place in _shaped(face.sized(size, bold=bold), run, leftward))
    return total / _UNITS / size


def wrap(
    text: str, size: float, width: float, *, bold: bool = False, max_lines: int | None = None
) -> list[str]:
    """Break text into lines at most `width` pixels wide; its own line breaks stay.

    A word wider than the line is broken where it must be. Past `max_lines` the text is cut and ends in an ellipsis.
    """
    lines = [line for paragraph in text.splitlines() for line in _wrapped(paragraph, size, width, bold)]
    if max_lines is None or len(lines) <= max_lines:
        return lines
    last = lines[max_lines - 1]
    while last and measure(last + _ELLIPSIS, size, bold=bold) > width:
        last = last[: -len(list(split_clusters(last))[-1])]
    return [*lines[: max_lines - 1], last.rstrip() + _ELLIPSIS]


def _wrapped(paragraph: str, size: float, width: float, bold: bool) -> list[str]:
    lines = [""]
    for piece in _pieces(_plain(paragraph), size, width, bold):
        reach = measure(lines[-1].rstrip(), size, bold=bold) + measure(
            lines[-1][len(lines[-1].rstrip()) :] + piece.rstrip(), size, bold=bold
        )
        if lines[-1] and reach > width:
            lines.append(piece)
        else:
            lines[-1] += piece
    return [line.strip() for line in lines]


def _pieces(text: str, size: float, width: float, bold: bool) -> Iterator[str]:
    """What may not be broken: words with the space behind them, single characters where a script has no spaces."""
    for piece in _breakable(text):
        if measure(piece.rstrip(), size, bold=bold) <= width:
            yield piece
            continue
        part = ""
        for cluster in split_clusters(piece):
            if part and measure(part + cluster, size, bold=bold) > width:
                yield part
                part = ""
            part += cluster
        yield part


def _breakable(text: str) -> Iterator[str]:
    piece, before = "", " "
    for cluster in split_clusters(text):
        char = cluster[0]
        starts_word = before.isspace() and not char.isspace()
        between_signs = (_is_wide(before) or _is_wide(char)) and unicodedata.category(char)[0] in "LNS"
        if piece.strip() and (
            starts_word or (between_signs and unicodedata.category(before) not in {"Ps", "Pi"})
        ):
            yield piece
            piece = ""
        piece += cluster
        before = char
    if piece:
        yield piece


def _is_wide(char: str) -> bool:
    """Chinese and Japanese break anywhere; Korean has wide letters, but breaks at spaces."""
    return unicodedata.east_asian_width(char) in "WF" and not "\uac00" <= char <= "\ud7a3"


def find_undrawable(text: str) -> list[str]:
    """List what is left out of a text when it is drawn, each once: what no font has."""
    return [cluster for cluster, face in _faced(_composed(text)) if face is None and _is_visible(cluster)]


def note_undrawable(texts: Iterable[str]) -> tuple[str, ...]:
    """Say what is left out of the texts of an export, if anything is."""
    missing = list(dict.fromkeys(cluster for text in texts for cluster in find_undrawable(text)))
    if not missing:
        return ()
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    return (f"Left out of the text, for no font has it: {' '.join(missing[:_MOST_NAMED])}{more}.",)


@lru_cache(maxsize=1_024)
def _plain(text: str) -> str:
    """What is drawn of a text: composed, without control characters and what no font has, nor two blanks for it."""
    kept = ""
    is_gap = False
    for cluster, face in _faced(_composed(text)):
        if face is None:
            is_gap = is_gap or _is_visible(cluster)
        elif not (is_gap and cluster == " " and (not kept or kept.endswith(" "))):
            kept += cluster
            is_gap = is_gap and cluster == " "
    return kept


def _composed(text: str) -> str:
    return "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFC", text)
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cs"}
    )


def _is_visible(cluster: str) -> bool:
    return any(unicodedata.category(char) not in {"Cf", "Mn"} for char in cluster)


def _runs(text: str) -> list[tuple[str, bool, Typeface]]:
    """Stretches of one font and direction, from left to right; what no font has is left out."""
    drawn = [(cluster, face) for cluster, face in _faced(_plain(text)) if face is not None]
    faces = [face for cluster, face in drawn for _ in cluster]
    return reorder_visual("".join(cluster for cluster, _ in drawn), lambda at: faces[at])


def _faced(text: str) -> Iterator[tuple[str, Typeface | None]]:
    """The text cluster by cluster, each with its font; None leaves it out."""
    country = _country(text)
    current: Typeface | None = None
    for cluster in split_clusters(text):
        if is_emoji(cluster):
            yield cluster, emoji_typeface() if _is_drawn_by(emoji_typeface(), cluster) else None
            current = None  # its blanks are as wide as an emoji
            continue
        for char in cluster:
            category = unicodedata.category(char)
            neutral = category[0] in "ZPN" or category in _JOINERS
            goes_on = current is not None and (category == "Cf" or (neutral and current.has(char)))
            if not goes_on:
                current = typeface(char, country)
            yield char, current


@lru_cache(maxsize=1_024)
def _is_drawn_by(face: Typeface, cluster: str) -> bool:
    """Whether a font has all of a cluster: no empty box stands for any of it."""
    return all(glyph != 0 for glyph, _ in _shaped(face.sized(_UNITS, bold=False), cluster, False))


def _country(text: str) -> int:
    """Whose way of drawing Han characters the text asks for."""
    if any("\u3040" <= char <= "\u30ff" for char in text):
        return JAPANESE
    return KOREAN if any("\uac00" <= char <= "\ud7a3" for char in text) else CHINESE


def _shaped(font: hb.Font, run: str, leftward: bool) -> Iterator[tuple[int, hb.GlyphPosition]]:
    buffer = hb.Buffer()
    buffer.add_str(run)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if leftward else "ltr"
    hb.shape(font, buffer)
    for glyph, place in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
        yield glyph.codepoint, place


def _drawn(pen: hb.RasterDraw) -> tuple[int, int, Alpha]:
    """Where the ink begins (left of the origin, top above the baseline), and the ink; rows come bottom up."""
    image = pen.render()
    extents = image.extents
    rows = np.frombuffer(image.buffer, np.uint8).reshape(extents.height, max(extents.stride, 1))
    alpha = np.ascontiguousarray(rows[::-1, : extents.width])
    alpha.flags.writeable = False
    return extents.x_origin, extents.y_origin + extents.height, alpha
