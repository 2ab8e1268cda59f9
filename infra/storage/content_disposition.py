"""The Content-Disposition header, which names the file of a download."""

import unicodedata
from typing import Literal
from urllib.parse import quote

# Letters with a usual ASCII spelling that removing accents does not give.
_LETTERS = str.maketrans(
    dict(zip("ßẞæÆœŒøØłŁđĐ", ("ss", "SS", "ae", "AE", "oe", "OE", "o", "O", "l", "L", "d", "D"), strict=True))
)
# Some clients end the quoted string at a backslash or quote, and some decode percent escapes in it.
_REPLACED = str.maketrans(dict.fromkeys('\\"%/', "_"))


def format_content_disposition(kind: Literal["inline", "attachment"], filename: str) -> str:
    """Return the Content-Disposition for a file name in any script (RFC 6266).

    Browsers read `filename*`; curl and others read only `filename`, which is the nearest ASCII name.
    """
    return f"{kind}; filename=\"{ascii_name(filename)}\"; filename*=UTF-8''{quote(filename, safe='')}"


def ascii_name(filename: str) -> str:
    """Return a file name in ASCII: letters without accents, `_` for all others."""
    decomposed = unicodedata.normalize("NFKD", filename.translate(_LETTERS))
    bare = (character for character in decomposed if not unicodedata.combining(character))
    plain = "".join(
        character if character.isascii() and character.isprintable() else "_" for character in bare
    ).translate(_REPLACED)
    stem, dot, suffix = plain.rpartition(".")
    if dot and not stem.strip("_ ."):  # no letter of the name has an ASCII form
        return f"video.{suffix}"
    return plain if plain.strip("_ .") else "video"
