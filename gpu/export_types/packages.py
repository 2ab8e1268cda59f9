"""The installed packages that add export types, as another machine needs them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, entry_points

from gpu.export_types.registry import ENTRY_POINT_GROUP

_NAME = re.compile("[A-Za-z0-9._-]+")
_METADATA = ("METADATA", "entry_points.txt")


@dataclass(frozen=True)
class TypePackage:
    """A package that adds export types.

    `modules` are the top-level modules of its entry points; `requirements` what else has to be installed, as pip takes
    it. `metadata` has the files, by name, of the folder `metadata_folder`: a machine that has it on Python's path,
    next to the modules, finds the same entry points.
    """

    name: str
    metadata_folder: str
    modules: frozenset[str]
    requirements: tuple[str, ...]
    metadata: dict[str, str] = field(hash=False)


def list_type_packages() -> list[TypePackage]:
    """Return the packages of all entry points of export types, by name."""
    by_package: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        if entry_point.dist is not None:
            by_package.setdefault(entry_point.dist.name, []).append(entry_point)
    return [_describe(by_package[name]) for name in sorted(by_package)]


def _describe(types: list[EntryPoint]) -> TypePackage:
    package = types[0].dist
    assert package is not None
    return TypePackage(
        name=package.name,
        metadata_folder=f"{package.name.replace('-', '_')}-{package.version}.dist-info",
        modules=frozenset(entry_point.module.partition(".")[0] for entry_point in types),
        requirements=tuple(_select_requirements(package.requires or ())),
        metadata={name: text for name in _METADATA if (text := _read(package, name)) is not None},
    )


def _read(package: Distribution, name: str) -> str | None:
    return package.read_text(name) or (package.read_text("PKG-INFO") if name == "METADATA" else None)


def _select_requirements(requirements: Iterable[str]) -> Iterable[str]:
    """Leave out Framehook itself, whose code is in the image, and what only extras need."""
    for requirement in requirements:
        name = _NAME.match(requirement)
        if name is not None and name[0].lower() != "framehook" and "extra ==" not in requirement:
            yield requirement
