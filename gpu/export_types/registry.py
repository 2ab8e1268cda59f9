"""The export types by name: built in, or from an installed package by the entry point group `framehook.export_types`.

An entry point's name is the name of the type, its value `module:EXPORT_TYPE`, an ExportType. A type is imported when
it is first used, so that a run imports only its own. A package that can't be imported makes its own types unusable and
nothing else; where two entry points have one name, a built-in type is used, and of two packages neither.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_json

from gpu.config import ExportConfig
from gpu.export_types.base import ExportType

ENTRY_POINT_GROUP = "framehook.export_types"
BUILT_IN = ("annotate", "framing", "overlay")
_NAME = re.compile("[a-z][a-z0-9_]{0,63}")

log = logging.getLogger("framehook.export_types")


class UnknownExportType(ValueError):
    """There is no usable export type of this name; the message lists those that there are."""


class UnusableExportType(Exception):
    """An installed export type can't be used; the message says which package it is from, and why."""


class ExportTypes:
    """The built-in export types and those of `plugins`; see the module."""

    def __init__(self, plugins: Iterable[EntryPoint]) -> None:
        by_name: dict[str, list[EntryPoint]] = defaultdict(list)
        for plugin in plugins:
            by_name[plugin.name].append(plugin)
        self._plugins: Mapping[str, list[EntryPoint]] = by_name
        self._loaded: dict[str, ExportType] = {}
        self._errors: dict[str, str] = {}

    def find(self, name: str) -> ExportType:
        """Return an export type, importing it if needed. Raises UnknownExportType."""
        if name not in self._loaded:
            if name not in BUILT_IN and name not in self._plugins:
                raise UnknownExportType(
                    f"there is no export type {name[:64]!r}; the types are {', '.join(self.names)}"
                )
            try:
                self._loaded[name] = self._load(name)
            except UnusableExportType as error:
                self._errors[name] = str(error)
                raise UnknownExportType(f"{error}; the types are {', '.join(self.names)}") from error
        return self._loaded[name]

    @property
    def names(self) -> list[str]:
        """The names of all types, in alphabetical order, without those that failed to load."""
        return sorted({*BUILT_IN, *self._plugins} - set(self._errors))

    def load_all(self) -> list[ExportType]:
        """Import every type, log what is wrong with any, and return those that can be used."""
        for error in self.list_errors():
            log.error("%s", error)
        return [self._loaded[name] for name in self.names]

    def list_errors(self) -> list[str]:
        """Import every type, and return a sentence for each that can't be used."""
        errors = []
        for name in sorted({*BUILT_IN, *self._plugins}):
            with suppress(UnknownExportType):
                self.find(name)
            if name in self._errors:
                errors.append(f"an export type is left out: {self._errors[name]}")
            if name in BUILT_IN and name in self._plugins:
                packages = _packages(self._plugins[name])
                errors.append(
                    f"the export type {name!r} of {packages} is left out: it is the name of a built-in type"
                )
        return errors

    def _load(self, name: str) -> ExportType:
        if name in BUILT_IN:
            return _import(EntryPoint(name, f"gpu.export_types.{name}:EXPORT_TYPE", ENTRY_POINT_GROUP))
        packages = _packages(self._plugins[name])
        if len(self._plugins[name]) > 1:
            raise UnusableExportType(
                f"{packages} both have an export type {name!r}; remove all but one of them"
            )
        try:
            return _import(self._plugins[name][0])
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UnusableExportType(
                f"the export type {name!r} of {packages} can't be used: {reason}"
            ) from error


def _import(entry_point: EntryPoint) -> ExportType:
    export_type = entry_point.load()
    if not isinstance(export_type, ExportType):
        raise TypeError(f"{entry_point.value} is not an ExportType")
    if export_type.name != entry_point.name or not _NAME.fullmatch(export_type.name):
        raise ValueError(
            f"{entry_point.value} is named {export_type.name!r}, its entry point {entry_point.name!r}"
        )
    return export_type


def _packages(plugins: Iterable[EntryPoint]) -> str:
    names = {plugin.dist.name if plugin.dist is not None else plugin.value for plugin in plugins}
    return " and ".join(sorted(names))


@cache
def get_export_types() -> ExportTypes:
    """Return the export types of this Python installation; looked up once per process."""
    return ExportTypes(entry_points(group=ENTRY_POINT_GROUP))


def find_export_type(name: str) -> ExportType:
    """Return an installed export type. Raises UnknownExportType."""
    return get_export_types().find(name)


def _validate_name(name: str) -> str:
    find_export_type(name)
    return name


class _NamesSchema:
    """Lists the names in the JSON Schema."""

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "enum": get_export_types().names}


ExportTypeName = Annotated[str, AfterValidator(_validate_name), _NamesSchema()]
"""The name of an installed export type; validating it imports the type."""


def parse_config(type_name: str, raw: object) -> ExportConfig:
    """Validate a configuration by its type. Raises UnknownExportType, pydantic.ValidationError."""
    return find_export_type(type_name).config.model_validate(raw)


def parse_new_config(type_name: str, raw: object) -> ExportConfig:
    """Validate the configuration of a new export: a number in quotes is no number, as the type's schema says.

    Raises what `parse_config` raises, which also reads configurations that were stored before this rule.
    """
    content = to_json(raw, inf_nan_mode="constants")
    return find_export_type(type_name).config.model_validate_json(content, strict=True)
