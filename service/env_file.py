"""`.env` and the environment, looked at before they are read: what can't be parsed, and what is misspelt."""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

LIKENESS_IN_FILE, LIKENESS_OUTSIDE = 0.75, 0.85
"""How like a setting's name another must be to be taken for it; an environment holds many programs' names."""
FOREIGN = frozenset({"FRAMEHOOK_URL", "FRAMEHOOK_TOKEN", "MODAL_MAX_CONTAINERS", "MODAL_BUCKET_SECRET"})


class InvalidEnvFile(Exception):
    """The file can't be read; the message says why, and repeats nothing of it."""


def read_names(path: Path) -> dict[str, int]:
    """Return the names that a `.env` sets, and the line of each; raises InvalidEnvFile. No file sets nothing."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise InvalidEnvFile(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise InvalidEnvFile(
            f"{path}: it can't be read ({(error.strerror or '').lower()}); let this user read it"
        ) from None
    if text.startswith("\ufeff"):
        raise InvalidEnvFile(f"{path}: it begins with a byte order mark; save the file as UTF-8 without one")
    names: dict[str, int] = {}
    for binding in parse_stream(StringIO(text)):
        line = (
            binding.original.line + len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        )
        if binding.error or (binding.key is not None and binding.value is None):
            raise InvalidEnvFile(
                f"{path}: line {line} can't be read; write NAME=value, with quotes around odd values"
            )
        if binding.key is not None:
            names[binding.key] = line
    return names


def find_misspellings(
    settings: Iterable[str],
    file: Path,
    file_names: Mapping[str, int],
    environment: Iterable[str] | None = None,
) -> Iterator[str]:
    """Give a sentence for each name that is no setting, but much like one that is not set itself."""
    known = {name.upper() for name in settings}
    outside = set(os.environ if environment is None else environment)
    present = {name.upper() for name in outside} | {name.upper() for name in file_names}
    for name, line in file_names.items():
        if near := _near(name, known, LIKENESS_IN_FILE):
            yield f"{file}: line {line}: {name} is no setting; did you mean {near}?"
    for name in sorted(outside):
        near = _near(name, known, LIKENESS_OUTSIDE)
        if near and near not in present:
            yield f"{name} in the environment is no setting; did you mean {near}?"


def _near(name: str, known: set[str], likeness: float) -> str | None:
    if name.upper() in known or name.upper() in FOREIGN:
        return None
    return next(
        iter(difflib.get_close_matches(name.upper().replace("-", "_"), known, n=1, cutoff=likeness)), None
    )
