"""Content-Disposition: under which name a download is saved."""

import unicodedata
from urllib.parse import quote

# What has a usual spelling in ASCII that taking accents away does not find.
_LETTERS = str.maketrans(
    dict(zip("ßẞæÆœŒøØłŁđĐ", ("ss", "SS", "ae", "AE", "oe", "OE", "o", "O", "l", "L", "d", "D"), strict=True))
)
# Backslash and quote end the quoted string for some clients, and some decode what follows a percent sign.
_REPLACED = str.maketrans(dict.fromkeys('\\"%/', "_"))


def attachment(filename: str) -> str:
    """Return the Content-Disposition that saves a file under this name, whatever its script (RFC 6266).

    Browsers read `filename*`; curl and others read only `filename`, which gets the nearest name in ASCII.
    """
    return f"attachment; filename=\"{ascii_name(filename)}\"; filename*=UTF-8''{quote(filename, safe='')}"


def ascii_name(filename: str) -> str:
    """Write a file name in ASCII: letters without their accents, `_` for what has no equal there."""
    decomposed = unicodedata.normalize("NFKD", filename.translate(_LETTERS))
    bare = (character for character in decomposed if not unicodedata.combining(character))
    plain = "".join(
        character if character.isascii() and character.isprintable() else "_" for character in bare
    ).translate(_REPLACED)
    stem, dot, suffix = plain.rpartition(".")
    if dot and not stem.strip("_ ."):  # nothing is left of a name in another script
        return f"video.{suffix}"
    return plain if plain.strip("_ .") else "video"
