"""The label of a clip: a panel with its rating in chess notation, its name, notes and tags."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gpu.draw.canvas import Canvas, Patch
from gpu.draw.compositing import is_dark
from gpu.draw.line_breaking import wrap
from gpu.draw.text import line_height, measure, render_line
from gpu.export_types.annotate import Clip

# By rating, 1 to 5: notation and background colour.
BADGES = {
    1: ("??", "#C62828"),
    2: ("?", "#F9A825"),
    3: ("!?", "#1565C0"),
    4: ("!", "#2E7D32"),
    5: ("!!", "#66BB6A"),
}
_PANEL, _PANEL_OPACITY = "#0b0f14", 0.82
_WHITE, _PALE, _BLUISH, _INK = "#ffffff", "#e3e7eb", "#b9c9da", "#10151b"
# Fractions of the shorter side of the picture.
_MARGIN, _PADDING, _MAX_WIDTH = 0.04, 0.022, 0.75
_NAME_SIZE, _NOTES_SIZE, _TAGS_SIZE = 0.038, 0.028, 0.024
_MIN_TEXT_SIZE = 9.0
# Fractions of the width and height of the picture.
_MAX_WIDTH_OF_PICTURE, _MAX_HEIGHT = 0.42, 0.45
_NAME_LINES = 2
_HASH_SIGNS = re.compile("^(?:#(?!\ufe0f?\u20e3)\\s*)+")


@dataclass(frozen=True)
class _Row:
    """A line of the panel; `size` in pixels per em."""

    text: str
    size: float
    color: str
    bold: bool = False

    @property
    def height(self) -> int:
        return line_height(self.size)

    @property
    def width(self) -> float:
        return measure(self.text, self.size, bold=self.bold)


def draw_label(clip: Clip, width: int, height: int) -> Patch | None:
    """Draw a clip's panel for the bottom left of pictures of this size; None if the clip has no text or rating."""
    side = min(width, height)
    margin, padding = 2 * round(_MARGIN * side / 2), round(_PADDING * side)
    badge = _badge_side(side) if clip.rating else 0
    indent = badge + padding if clip.rating else 0
    panel_width = min(width - 2 * margin, max(_MAX_WIDTH_OF_PICTURE * width, _MAX_WIDTH * side))
    text_width = panel_width - 2 * padding - indent
    if text_width < _MIN_TEXT_SIZE:
        return None
    rows = list(_rows(clip, side, text_width, _MAX_HEIGHT * height - 2 * padding))
    if not rows and not clip.rating:
        return None
    widest_row = max([row.width for row in rows], default=-padding)
    canvas = _panel(
        round(2 * padding + indent + widest_row + 0.5),
        2 * padding + max(badge, sum(row.height for row in rows)),
        padding,
    )
    if clip.rating:
        _paint_badge(canvas, clip.rating, padding, badge)
    top = padding + max(0, badge - (rows[0].height if rows else 0)) // 2 * (len(rows) == 1)
    for row in rows:
        canvas.text(render_line(row.text, row.size, bold=row.bold), padding + indent, top, row.color)
        top += row.height
    return canvas.patch(margin, max(0, height - margin - canvas.height) // 2 * 2)


def _rows(clip: Clip, side: int, width: float, height: float) -> Iterator[_Row]:
    """Yield name, notes and tags wrapped to a width; notes are cut to keep the panel within a height."""
    name_size, notes_size, tags_size = (
        max(_MIN_TEXT_SIZE, fraction * side) for fraction in (_NAME_SIZE, _NOTES_SIZE, _TAGS_SIZE)
    )
    names = wrap(clip.name.strip(), name_size, width, bold=True, max_lines=_NAME_LINES)
    tags = wrap(
        "  ".join(f"#{tag}" for tag in map(_bare_tag, clip.tags) if tag), tags_size, width, max_lines=1
    )
    height_left = height - len(names) * line_height(name_size) - len(tags) * line_height(tags_size)
    notes_lines = max(1, int(height_left / line_height(notes_size)))
    notes = wrap(clip.notes.strip(), notes_size, width, max_lines=notes_lines)
    yield from (_Row(text, name_size, _WHITE, bold=True) for text in names)
    yield from (_Row(text, notes_size, _PALE) for text in notes)
    yield from (_Row(text, tags_size, _BLUISH) for text in tags)


def _bare_tag(tag: str) -> str:
    """Strip leading # signs from a tag; the # of a keycap emoji stays."""
    return _HASH_SIGNS.sub("", tag.strip()).strip()


def _panel(width: int, height: int, radius: float) -> Canvas:
    canvas = Canvas(width, height)
    return canvas.box(0, 0, canvas.width, canvas.height, radius=radius, color=_PANEL, opacity=_PANEL_OPACITY)


def _badge_side(side: int) -> int:
    return round(line_height(max(_MIN_TEXT_SIZE, _NAME_SIZE * side)) * 1.15)


def _paint_badge(canvas: Canvas, rating: int, at: int, side: int) -> None:
    """Paint a square of the rating's colour with its notation centred, in white or ink by contrast."""
    notation, color = BADGES[rating]
    canvas.box(at, at, side, side, radius=side / 5, color=color, opacity=1.0)
    line = render_line(notation, side * 0.72, bold=True)
    rows, columns = line.alpha.shape
    x, y = at + (side - columns) / 2 - line.left, at + (side - rows) / 2 - line.top
    canvas.text(line, x, y, _WHITE if is_dark(color) else _INK)
