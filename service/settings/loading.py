"""Read the settings from the environment and `.env`.

An invalid value stops the start with a sentence that names it.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

from service.settings.conflicts import find_conflicts
from service.settings.env_file import InvalidEnvFile, find_literal_values, find_unknown_names, read_names
from service.settings.model import ENV_FILE, Settings
from service.settings.text import describe_error, is_utf8

_NAME = re.compile(r"[A-Z][A-Z0-9_]+")


class BadSettings(Exception):
    """The settings are invalid; the message names each one and what is wrong with it."""


class _UncheckedSettings(Settings):
    """Settings that may not fit together."""

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        return self


@dataclass(frozen=True)
class Inspection:
    """The settings, and a sentence for each problem.

    `invalid` has the names of what is invalid or does not fit together. Where a value is invalid, `settings` has the
    default; it is None if `.env` or the environment can't be read.
    """

    settings: Settings | None
    problems: tuple[str, ...]
    invalid: frozenset[str]


def load_settings(**overrides: object) -> Settings:
    """Read the settings; raises BadSettings, which quotes no value that may be secret."""
    inspection = inspect_settings(**overrides)
    if inspection.problems or inspection.settings is None:
        raise BadSettings("\n".join(inspection.problems))
    return inspection.settings


def inspect_settings(**overrides: object) -> Inspection:
    """Read the settings, and return all that is wrong with them."""
    try:
        read_env_file_names(overrides.get("_env_file", ENV_FILE))
        _check_encoding()
    except BadSettings as error:
        return Inspection(None, (str(error),), frozenset())
    values = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Inspection(Settings(**values), (), frozenset())  # type: ignore[arg-type]
    except ValidationError as error:
        invalid = _list_fields(error)
        problems = [line for item in error.errors() if item["loc"] for line in _describe(item)]
    values |= {name: Settings.model_fields[name].get_default() for name in invalid}
    settings = _UncheckedSettings(**values)  # type: ignore[arg-type]
    names = {name.upper() for name in invalid}
    conflicts = [line for line in find_conflicts(settings) if not names.intersection(_NAME.findall(line))]
    names.update(name for line in conflicts for name in _NAME.findall(line))
    return Inspection(settings, (*problems, *conflicts), frozenset(names))


def _check_encoding() -> None:
    """Raise BadSettings if a variable is no text, which could neither be checked nor shown."""
    texts = {name: value for name, value in os.environ.items() if name.lower() in Settings.model_fields}
    broken = sorted(name for name, value in texts.items() if not is_utf8(value))
    if broken:
        raise BadSettings(
            "\n".join(f"{name}: the value is not UTF-8; set it again as text" for name in broken)
        )


def read_env_file_names(file: object) -> dict[str, list[int]]:
    """Return the names that `.env` sets and the lines of each.

    Raises BadSettings if it can't be read.
    """
    try:
        return read_names(Path(str(file))) if file else {}
    except InvalidEnvFile as error:
        raise BadSettings(str(error)) from None


def find_unknown_settings() -> list[str]:
    """Return a sentence for each name in `.env` that is no setting, or in the environment that is almost one.

    So are settings in the environment whose values have quotes or comments around them. None if `.env` can't be read,
    which is a problem of its own.
    """
    try:
        file_names = read_env_file_names(ENV_FILE)
    except BadSettings:
        return []
    fields = Settings.model_fields
    return [*find_unknown_names(fields, ENV_FILE, file_names), *find_literal_values(fields, os.environ)]


def _describe(item: ErrorDetails) -> list[str]:
    return describe_error(item["loc"], item["msg"]).splitlines()


def _list_fields(error: ValidationError) -> set[str]:
    """Return the names of the invalid fields; what does not fit together belongs to none."""
    return {str(item["loc"][0]).lower() for item in error.errors() if item["loc"]}
