"""The guides name everything that can be set: each setting, and each field of an export's configuration."""

import re
from collections.abc import Iterator

import pytest

from gpu.export_types.registry import BUILT_IN, find_export_type
from service.settings import Settings
from tests.docs.markdown import GUIDES, read_blocks, read_prose
from tests.docs.setting_reference import GUIDE, render_guide


def names_in_code(guide: str) -> set[str]:
    """Return every name that a guide has between backticks or in a code block."""
    blocks = [block.text for block in read_blocks(GUIDES / guide)]
    inline = re.findall(r"`([^`]+)`", read_prose(GUIDES / guide))
    return set(re.findall(r"\w+", " ".join(blocks + inline)))


def property_names(schema: object) -> Iterator[str]:
    """Yield every name of a field in a JSON schema, those of inner models too."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from property_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from property_names(part)


def test_the_configuration_guide_has_the_settings_of_the_model() -> None:
    assert GUIDE.read_text("utf-8") == render_guide(), "run `make reference`"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_exports_guide_names_every_field_of_an_export(name: str) -> None:
    fields = set(property_names(find_export_type(name).config.model_json_schema()))
    assert fields - names_in_code("exports.md") == set()
