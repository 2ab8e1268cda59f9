"""Split text into grapheme clusters: an emoji of any number of characters, a letter with its accents."""

import re
import unicodedata
from collections.abc import Iterator

# Drawn as emoji by default: Unicode's Emoji_Presentation in the basic plane, and all pictographs above it.
_PICTOGRAPHS = (
    "\u231a\u231b\u23e9-\u23ec\u23f0\u23f3\u25fd\u25fe\u2614\u2615\u2648-\u2653\u267f\u2693\u26a1\u26aa\u26ab\u26bd"
    "\u26be\u26c4\u26c5\u26ce\u26d4\u26ea\u26f2\u26f3\u26f5\u26fa\u26fd\u2705\u270a\u270b\u2728\u274c\u274e\u2753-\u2755"
    "\u2757\u2795-\u2797\u27b0\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff"
)
_ANY = "\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff"
_TONE = "[\U0001f3fb-\U0001f3ff]"
_TAGS = "(?:[\U000e0020-\U000e007e]+\U000e007f)?"
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"  # a flag
    "|[0-9#*]\ufe0f?\u20e3"  # a keycap
    f"|(?:[{_PICTOGRAPHS}](?!\ufe0e)\ufe0f?|[{_ANY}](?:\ufe0f|(?={_TONE})))"
    f"{_TONE}?{_TAGS}(?:\u200d[{_ANY}]\ufe0f?{_TONE}?)*"  # several joined into one
)
_JOINERS = {"Cf", "Mn", "Mc", "Me"}


def split_clusters(text: str) -> Iterator[str]:
    """Split text into emoji, and characters with their combining marks."""
    position = 0
    for emoji in _EMOJI.finditer(text):
        yield from _split_characters(text[position : emoji.start()])
        yield emoji[0]
        position = emoji.end()
    yield from _split_characters(text[position:])


def is_emoji(cluster: str) -> bool:
    """Tell whether a cluster is drawn as an emoji."""
    return _EMOJI.fullmatch(cluster) is not None


def _split_characters(text: str) -> Iterator[str]:
    cluster = ""
    for char in text:
        if cluster and unicodedata.category(char) not in _JOINERS:
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster
