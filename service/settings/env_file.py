"""Check `.env` and the environment for syntax errors and names that are no settings."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

FILE_SIMILARITY, ENVIRONMENT_SIMILARITY = 0.75, 0.85
"""How similar a name must be to a setting to be taken for it."""
OTHER_VARIABLES = frozenset({"FRAMEHOOK_URL", "FRAMEHOOK_TOKEN"})
MODAL_PREFIX = "MODAL_"
_COMMENT = re.compile(r"\s#")


class InvalidEnvFile(Exception):
    """The file can't be read; the message says why and quotes none of its content."""


def read_names(path: Path) -> dict[str, list[int]]:
    """Return the names that `.env` sets and the lines of each; none without a file.

    Raises InvalidEnvFile.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise InvalidEnvFile(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise InvalidEnvFile(
            f"{path}: it can't be read ({(error.strerror or '').lower()}); give this user read access"
        ) from None
    if text.startswith("\ufeff"):
        raise InvalidEnvFile(f"{path}: it begins with a byte order mark; save the file as UTF-8 without one")
    names: dict[str, list[int]] = {}
    for binding in parse_stream(StringIO(text)):
        line = (
            binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        )
        if binding.error or (binding.key is not None and binding.value is None):
            raise InvalidEnvFile(
                f"{path}: line {line} is invalid; write NAME=value, with quotes around special characters"
            )
        if binding.key is not None:
            names.setdefault(binding.key, []).append(line)
    return names


def find_value(name: str, path: Path, environment: Mapping[str, str]) -> str | None:
    """Return a setting as the environment or else `.env` has it, also where other parts of the file are invalid."""
    for variable, value in environment.items():
        if variable.upper() == name:
            return value
    try:
        text = path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff")
    except OSError:
        return None
    bindings = parse_stream(StringIO(text))
    values = [binding.value for binding in bindings if (binding.key or "").upper() == name]
    return values[-1] if values else None


def find_unknown_names(
    settings: Iterable[str],
    file: Path,
    file_names: Mapping[str, list[int]],
    environment: Iterable[str] | None = None,
) -> Iterator[str]:
    """Yield a sentence for each name in `.env` that is no setting, or is there twice.

    The environment also holds names of other programs, so only those are reported of it that are almost the name of
    a setting which is not set.
    """
    known = {name.upper() for name in settings}
    variables = set(os.environ if environment is None else environment)
    present = {name.upper() for name in variables} | {name.upper() for name in file_names}
    for name, lines in file_names.items():
        if name.upper() not in known | OTHER_VARIABLES:
            yield f"{file}: line {lines[0]}: {name} {_advise(name, known)}"
        elif len(lines) > 1:
            yield f"{file}: line {lines[-1]} sets {name} again; line {lines[0]} has no effect, remove one"
    for name in sorted(variables):
        similar = _find_similar(name, known, ENVIRONMENT_SIMILARITY)
        if similar and similar not in present:
            yield f"{name} in the environment is not a setting; did you mean {similar}?"


def find_literal_values(settings: Iterable[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each setting in the environment whose value has something around it.

    `.env` may have quotes, comments and Windows' line ends; `docker --env-file`, Kubernetes and others pass them on
    as parts of the value.
    """
    known = {name.upper() for name in settings}
    for name, value in sorted(environment.items()):
        if name.upper() in known and (part := _find_wrapping(value)):
            yield f"{name}: the value in the environment has {part}, which is read as a part of it; remove it"


def _find_wrapping(value: str) -> str:
    if value != value.strip():
        return "white space around it"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return "a pair of quotes around it"
    return "a comment behind it" if _COMMENT.search(value) else ""


def _advise(name: str, known: set[str]) -> str:
    similar = _find_similar(name, known, FILE_SIMILARITY)
    if name.upper().startswith(MODAL_PREFIX) and not similar:
        return "is not a setting; what Modal's SDK reads has to be in the environment"
    return f"is not a setting; did you mean {similar}?" if similar else "is not a setting and is ignored"


def _find_similar(name: str, known: set[str], similarity: float) -> str | None:
    if name.upper() in known | OTHER_VARIABLES:
        return None
    matches = difflib.get_close_matches(name.upper().replace("-", "_"), known, n=1, cutoff=similarity)
    return next(iter(matches), None)
