"""How large and how long a source may be."""

from typing import Final

from gpu.errors import ExportError
from gpu.sources.container import MAX_FRAME_PIXELS, UNREADABLE

MAX_SIDE: Final = 16_384
MAX_DURATION_SECONDS: Final = 24 * 3_600.0


def check_duration(seconds: float) -> None:
    """Raise ExportError for a source that is too long."""
    if seconds > MAX_DURATION_SECONDS:
        raise ExportError("source_too_large", "The source is longer than 24 hours.")


def check_size(width: int, height: int) -> None:
    """Raise ExportError for a picture that is too large or none."""
    if width <= 0 or height <= 0:
        raise ExportError("source_unreadable", UNREADABLE)
    if max(width, height) > MAX_SIDE or width * height > MAX_FRAME_PIXELS:
        limits = f"{MAX_SIDE} pixels per side and {MAX_FRAME_PIXELS // 10**6} megapixels"
        raise ExportError("source_too_large", f"The source's picture is too large; the limits are {limits}.")
