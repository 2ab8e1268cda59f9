"""Names of objects: the user's folder and the key, such that no key leads out of that folder."""

import hashlib
import re
import unicodedata
from urllib.parse import quote

from infra.storage.errors import InvalidKey

MAX_KEY_BYTES = 700
MAX_KEY_PART_BYTES = 250  # file systems allow names of 255 bytes

# Only hashed names begin with a tilde; otherwise a user could be named like the hash of another.
_PLAIN_USER = re.compile(r"[A-Za-z0-9_@%-][A-Za-z0-9._@%~-]{0,127}")


def user_folder(user_id: str) -> str:
    """Return the first part of the names of a user's objects; no two users share one."""
    name = quote(user_id, safe="@", errors="surrogatepass")
    if _PLAIN_USER.fullmatch(name):
        return name
    return "~" + hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()


def object_name(user_id: str, key: str) -> str:
    """Return `{user}/{key}`.

    Raises InvalidKey for a key that a file system, proxy or store might read as a different one.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "%" in part for part in parts):
        raise InvalidKey
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in key):
        raise InvalidKey
    if len(key.encode()) > MAX_KEY_BYTES or max(len(part.encode()) for part in parts) > MAX_KEY_PART_BYTES:
        raise InvalidKey
    return f"{user_folder(user_id)}/{key}"
