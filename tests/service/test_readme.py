"""README names everything that can be set: each setting, and each field of an export's configuration."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu.export_types.registry import BUILT_IN, find_export_type
from service.settings import Settings

README = Path(__file__).parents[2].joinpath("README.md").read_text("utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def names_in_code(text: str) -> set[str]:
    return {name for code in re.findall(r"`([^`]+)`", text) for name in re.findall(r"\w+", code)}


def property_names(schema: object) -> Iterator[str]:
    """Every name of a field in a JSON schema, those of inner models too."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from property_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from property_names(part)


def test_readme_names_every_setting() -> None:
    assert {name.upper() for name in Settings.model_fields} - names_in_code(section("Settings")) == set()


@pytest.mark.parametrize("name", BUILT_IN)
def test_readme_names_every_field_of_an_export(name: str) -> None:
    fields = set(property_names(find_export_type(name).config.model_json_schema()))
    assert fields - names_in_code(section("The exports")) == set()
