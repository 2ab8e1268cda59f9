"""Settings as text: their values for operators, and what is wrong with one."""

import re

from pydantic import SecretStr

_PASSWORD = re.compile(r"://[^/@]*@")
_PYDANTIC_TEXT = re.compile(r"^Input should be (.*?)(?:, unable to .*)?$")


def to_public_text(value: object) -> str:
    """Return the value of a setting; a secret only as whether it is set, a URL without its password."""
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, tuple):
        return ", ".join(dict.fromkeys(to_public_text(part) for part in value))
    return "" if value is None else _PASSWORD.sub("://***@", str(value))


def describe_error(loc: tuple[int | str, ...], message: str) -> str:
    """Return what is wrong with a setting as a sentence that names it."""
    message = _PYDANTIC_TEXT.sub(r"must be \1", message.removeprefix("Value error, "))
    return f"{str(loc[0]).upper()}: {message}" if loc else message


def is_utf8(text: str) -> bool:
    """Tell whether text of the operating system is UTF-8; Python keeps other bytes as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
