"""Break text into lines of a width: between words, anywhere in Chinese and Japanese, inside words that are too long."""

import unicodedata
from collections.abc import Iterator

from gpu.draw.graphemes import split_clusters
from gpu.draw.text import drawable_text, measure

_ELLIPSIS = "…"


def wrap(
    text: str, size: float, width: float, *, bold: bool = False, max_lines: int | None = None
) -> list[str]:
    """Break text into lines of at most `width` pixels; its own line breaks are kept.

    A word that is wider than a line is broken. After `max_lines` the text is cut and ends in an ellipsis.
    """
    lines = [
        line for paragraph in text.splitlines() for line in _wrap_paragraph(paragraph, size, width, bold)
    ]
    if max_lines is None or len(lines) <= max_lines:
        return lines
    last = lines[max_lines - 1]
    while last and measure(last + _ELLIPSIS, size, bold=bold) > width:
        last = last[: -len(list(split_clusters(last))[-1])]
    return [*lines[: max_lines - 1], last.rstrip() + _ELLIPSIS]


def _wrap_paragraph(paragraph: str, size: float, width: float, bold: bool) -> list[str]:
    lines = [""]
    for part in _unbreakable_parts(drawable_text(paragraph), size, width, bold):
        reach = measure(lines[-1].rstrip(), size, bold=bold) + measure(
            lines[-1][len(lines[-1].rstrip()) :] + part.rstrip(), size, bold=bold
        )
        if lines[-1] and reach > width:
            lines.append(part)
        else:
            lines[-1] += part
    return [line.strip() for line in lines]


def _unbreakable_parts(text: str, size: float, width: float, bold: bool) -> Iterator[str]:
    """Yield what stays on one line: words with the space after them, single characters of scripts without spaces."""
    for word in _split_words(text):
        if measure(word.rstrip(), size, bold=bold) <= width:
            yield word
            continue
        part = ""
        for cluster in split_clusters(word):
            if part and measure(part + cluster, size, bold=bold) > width:
                yield part
                part = ""
            part += cluster
        yield part


def _split_words(text: str) -> Iterator[str]:
    word, before = "", " "
    for cluster in split_clusters(text):
        char = cluster[0]
        starts_word = before.isspace() and not char.isspace()
        between_signs = (_is_wide(before) or _is_wide(char)) and unicodedata.category(char)[0] in "LNS"
        if word.strip() and (
            starts_word or (between_signs and unicodedata.category(before) not in {"Ps", "Pi"})
        ):
            yield word
            word = ""
        word += cluster
        before = char
    if word:
        yield word


def _is_wide(char: str) -> bool:
    """Tell whether a line may be broken at the character: Chinese and Japanese, but not Korean, break anywhere."""
    return unicodedata.east_asian_width(char) in "WF" and not "\uac00" <= char <= "\ud7a3"
