"""Write chapters into an MP4."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from av.container import OutputContainer

if TYPE_CHECKING:
    from av.container.core import Chapter as ChapterEntry  # only in the stubs

_MILLISECONDS = 1_000
_TITLE_BYTES = 255


@dataclass(frozen=True)
class Chapter:
    """A chapter of the output that players can jump to; times are in seconds of output."""

    start: float
    end: float
    title: str


def set_chapters(container: OutputContainer, chapters: Sequence[Chapter]) -> None:
    """Set the chapters of a file whose header has not been written yet."""
    container.set_chapters([_chapter_entry(numbered) for numbered in enumerate(chapters)])


def _chapter_entry(numbered: tuple[int, Chapter]) -> "ChapterEntry":
    number, chapter = numbered
    start, end = round(chapter.start * _MILLISECONDS), round(chapter.end * _MILLISECONDS)
    # One of the two places where MP4 stores chapters cuts titles at this many bytes, even inside a character.
    title = chapter.title.encode()[:_TITLE_BYTES].decode(errors="ignore")
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, _MILLISECONDS),
        "metadata": {"title": title},
    }
