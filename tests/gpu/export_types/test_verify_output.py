"""Outputs that are no video: an image is decoded, other files begin as their type says."""

import io
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image

from gpu.config import ExportConfig
from gpu.errors import ExportError
from gpu.export_types import verify_output
from gpu.export_types.base import ExportType, FileOutput
from gpu.export_types.inspect_output import inspect_output
from gpu.export_types.verify_output import inspect_file, verify_file

MAGIC = b"\x89PNG\r\n\x1a\n"


def export_type(content_type: str, magic: bytes = b"") -> ExportType:
    return ExportType(
        name="test",
        description="A test.",
        config=ExportConfig,
        plan=lambda _config, _sources: plan(),
        content_type=content_type,
        suffix=".bin",
        magic=magic,
    )


PNG = export_type("image/png", MAGIC)


def plan(width: int = 0, height: int = 0) -> FileOutput:
    return FileOutput(write=write_nothing, width=width, height=height)


def write_nothing(_path: Path) -> Generator[float, None, None]:
    yield from ()


def encode_png(width: int = 64, height: int = 36, image_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, image_format)
    return file.getvalue()


def test_an_image_is_decoded_and_measured(tmp_path: Path) -> None:
    path = tmp_path / "output.png"
    path.write_bytes(encode_png())
    verify_file(path, PNG, plan(64, 36))
    assert inspect_output(str(path), PNG) == {"width": 64, "height": 36}
    with pytest.raises(ExportError, match="wrong size"):
        verify_file(path, PNG, plan(64, 37))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", MAGIC, encode_png()[:-200], encode_png(image_format="JPEG")],
    ids=["empty", "something else", "its first bytes alone", "truncated", "another format"],
)
def test_what_is_no_such_image_is_invalid(content: bytes) -> None:
    with pytest.raises(ExportError) as raised:
        inspect_file(io.BytesIO(content), PNG)
    assert raised.value.code == "output_invalid"


def test_an_image_with_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_output, "MAX_IMAGE_PIXELS", 64 * 35)
    with pytest.raises(ExportError, match="can't be decoded as image/png"):
        inspect_file(io.BytesIO(encode_png()), PNG)


def test_another_file_has_to_begin_as_its_type_says() -> None:
    assert inspect_file(io.BytesIO(b"%PDF-1.7"), export_type("application/pdf", b"%PDF-")) is None
    with pytest.raises(ExportError, match="no application/pdf"):
        inspect_file(io.BytesIO(b"{}"), export_type("application/pdf", b"%PDF-"))


def test_a_type_that_wrote_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="wrote no file"):
        verify_file(tmp_path / "output.png", PNG, plan())
