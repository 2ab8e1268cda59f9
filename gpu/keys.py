"""Object keys as clients write them; only the service adds the prefix of the user."""

import unicodedata

MAX_KEY_BYTES = 512
MAX_PART_BYTES = 250


def validate_key(key: str) -> str:
    """Return the key if it is relative, normalized, printable, and without empty or dotted parts.

    Raises ValueError.
    """
    if not key or len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {MAX_KEY_BYTES} bytes")
    if unicodedata.normalize("NFKC", key) != key:
        raise ValueError("a key must be in normal form (NFKC)")
    if any(unicodedata.category(character).startswith("C") for character in key) or "\\" in key or "%" in key:
        raise ValueError("a key has no control characters, backslashes or percent signs")
    if any(part.startswith(".") or part != part.strip() or not part for part in key.split("/")):
        raise ValueError("no part of a key is empty, begins with a dot, or has blanks at its ends")
    if any(len(part.encode()) > MAX_PART_BYTES for part in key.split("/")):
        raise ValueError(f"no part of a key has more than {MAX_PART_BYTES} bytes")
    return key
