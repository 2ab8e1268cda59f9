"""The form of a key: `fh_`, 32 random characters, and a checksum of six.

The prefix lets scanners find keys in code and logs. The checksum lets them, and the service, tell a key from other text
without asking the database.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final

PREFIX: Final = "fh_"
RANDOM_CHARACTERS: Final = 32
"""190 bits: a hash without salt and without many rounds keeps them safe."""
CHECKSUM_CHARACTERS: Final = 6
HINT_CHARACTERS: Final = 7
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY: Final = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM_CHARACTERS + CHECKSUM_CHARACTERS}}}")


def generate_key() -> str:
    """Return a new key."""
    text = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return text + _checksum(text)


def is_key(text: str) -> bool:
    """Tell whether a text has the form of a key and the right checksum."""
    return (
        _KEY.fullmatch(text) is not None
        and _checksum(text[:-CHECKSUM_CHARACTERS]) == text[-CHECKSUM_CHARACTERS:]
    )


def hash_key(key: str) -> str:
    """Return the hash by which the database knows a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62."""
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
