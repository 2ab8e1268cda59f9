"""The type files of the modules for React and for the element name what the modules export."""

import re

import pytest

from tests.javascript.page_builder import WEB


@pytest.mark.parametrize("name", ["framehook-react", "framehook-element"])
def test_the_types_name_every_export_and_no_other(name: str) -> None:
    exported = re.findall(
        r"^export (?:class|function|const) (\w+)", (WEB / f"{name}.js").read_text(), re.MULTILINE
    )
    types = (WEB / f"{name}.d.ts").read_text()
    declared = re.findall(r"^export (?:declare )?(?:class|function|const) (\w+)", types, re.MULTILINE)
    assert sorted(exported) == sorted(declared) != []
