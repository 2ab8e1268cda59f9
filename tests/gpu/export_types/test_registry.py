"""Finding export types: built in, from packages, and what happens when packages are wrong."""

import logging
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from gpu.config import ExportConfig
from gpu.export_types.base import ExportType, FileOutput
from gpu.export_types.registry import BUILT_IN, ENTRY_POINT_GROUP, ExportTypes, UnknownExportType


def entry_point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, ENTRY_POINT_GROUP)


def plan_nothing(_config: ExportConfig, _sources: object) -> FileOutput:
    raise NotImplementedError


@pytest.fixture
def strip(monkeypatch: pytest.MonkeyPatch) -> ExportType:
    """An export type in a module `strips`, in which it is called EXPORT_TYPE."""
    export_type = ExportType(
        name="strip",
        description="A strip.",
        config=ExportConfig,
        plan=plan_nothing,
        content_type="image/png",
        suffix=".png",
    )
    module = ModuleType("strips")
    module.__dict__["EXPORT_TYPE"] = export_type
    monkeypatch.setitem(sys.modules, "strips", module)
    return export_type


def test_built_in_types_are_found_by_name() -> None:
    types = ExportTypes([])
    assert types.names == ["annotate", "framing", "overlay"]
    assert [types.find(name).name for name in BUILT_IN] == list(BUILT_IN)
    assert all(types.find(name).is_video for name in BUILT_IN)


def test_a_type_of_a_package_is_found_by_its_entry_point(strip: ExportType) -> None:
    types = ExportTypes([entry_point("strip", "strips:EXPORT_TYPE")])
    assert types.find("strip") is strip
    assert types.names == ["annotate", "framing", "overlay", "strip"]


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownExportType, match="no export type 'gif'; the types are annotate, framing, overlay"
    ):
        ExportTypes([]).find("gif")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not_there:EXPORT_TYPE", "ModuleNotFoundError"),
        ("strips:NOT_THERE", "AttributeError"),
        ("sys:path", "sys:path is not an ExportType"),
        ("strips:EXPORT_TYPE", "is named 'strip', its entry point 'other'"),
    ],
)
def test_a_package_that_can_t_be_used_is_left_out_with_one_line_in_the_log(
    strip: ExportType, caplog: pytest.LogCaptureFixture, value: str, reason: str
) -> None:
    types = ExportTypes([entry_point("other", value)])
    assert [each.name for each in types.load_all()] == ["annotate", "framing", "overlay"]
    assert [(record.levelno, reason in record.message) for record in caplog.records] == [
        (logging.ERROR, True)
    ]
    with pytest.raises(UnknownExportType, match=reason):
        types.find("other")


def test_of_two_packages_with_one_name_neither_is_used(
    strip: ExportType, caplog: pytest.LogCaptureFixture
) -> None:
    types = ExportTypes(
        [entry_point("strip", "strips:EXPORT_TYPE"), entry_point("strip", "others:EXPORT_TYPE")]
    )
    types.load_all()
    assert "others:EXPORT_TYPE and strips:EXPORT_TYPE both have an export type 'strip'" in caplog.text
    with pytest.raises(UnknownExportType, match="remove all but one"):
        types.find("strip")


def test_a_built_in_type_is_not_replaced(caplog: pytest.LogCaptureFixture) -> None:
    types = ExportTypes([entry_point("framing", "strips:EXPORT_TYPE")])
    types.load_all()
    assert types.find("framing").is_video
    assert "it is the name of a built-in type" in caplog.text


def test_a_configuration_is_checked_without_what_decodes_and_draws() -> None:
    code = (
        "import sys; from gpu.export_types.registry import parse_config; "
        "parse_config('overlay', {'input_key': 'match.mp4'}); "
        "print({'av', 'numpy', 'PIL', 'uharfbuzz', 'gpu.export_types.annotate'} & {*sys.modules})"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
