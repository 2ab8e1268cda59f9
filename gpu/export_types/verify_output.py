"""Verify outputs: a video by probing it, an image by decoding it, other files by their first bytes."""

from pathlib import Path
from typing import BinaryIO

from gpu.errors import ExportError
from gpu.export_types.base import ExportType, FileOutput
from gpu.media.encode import Render
from gpu.sources.source import Source, probe

MAX_IMAGE_PIXELS = 8_192 * 8_192
_AUDIO_TAIL_SECONDS = 0.03


def verify_video(path: Path, render: Render) -> Source:
    """Probe a video and compare it with its plan. Raises ExportError: output_invalid."""
    try:
        video = probe(str(path))
    except ExportError as error:
        raise ExportError("output_invalid", "The export could not be read back.", transient=True) from error
    frame_seconds = 1 / float(render.clock.rate)
    for is_wrong, what in (
        ((video.width, video.height) != (render.width, render.height), "size"),
        (abs(video.duration - render.seconds) > max(frame_seconds, _AUDIO_TAIL_SECONDS), "length"),
        ((video.audio is None) != (render.audio is None), "sound"),
    ):
        if is_wrong:
            raise ExportError("output_invalid", f"The export came out with the wrong {what}.", transient=True)
    return video


def verify_file(path: Path, export_type: ExportType, plan: FileOutput) -> None:
    """Compare a file that an export type wrote with its plan. Raises ExportError: output_invalid."""
    try:
        with path.open("rb") as file:
            size = inspect_file(file, export_type)
    except OSError as error:
        raise ExportError("output_invalid", "The export type wrote no file.") from error
    if size is not None and size != (plan.width, plan.height):
        raise ExportError("output_invalid", "The export came out with the wrong size.", transient=True)


def inspect_file(file: BinaryIO, export_type: ExportType) -> tuple[int, int] | None:
    """Check that a file is of its type's format; return width and height of an image, None for other files.

    An image is decoded whole, if it has at most MAX_IMAGE_PIXELS. Raises ExportError: output_invalid.
    """
    head = file.read(max(1, len(export_type.magic)))
    if not head or not head.startswith(export_type.magic):
        raise ExportError("output_invalid", f"The export is no {export_type.content_type}.", transient=True)
    if not export_type.is_image:
        return None
    file.seek(0)
    return _decode_image(file, export_type)


def _decode_image(file: BinaryIO, export_type: ExportType) -> tuple[int, int]:
    from PIL import Image

    message = f"The export can't be decoded as {export_type.content_type}."
    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(file) as image:
            has_expected_format = image.get_format_mimetype() == export_type.content_type
            if has_expected_format and image.width * image.height <= MAX_IMAGE_PIXELS:
                image.load()
                return image.size
    except (OSError, ValueError, SyntaxError, *bombs) as error:
        raise ExportError("output_invalid", message, transient=True) from error
    raise ExportError("output_invalid", message, transient=True)
