"""The source of a strip of thumbnails, and the comparison of a strip with its frames."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.videos import Video, frame_times, read_lumas, write_video

COLUMNS, WIDTH, HEIGHT = 4, 80, 45
CONFIG = {"columns": COLUMNS, "width": WIDTH}
SECONDS = 2.0


def write_ramp(path: Path) -> Path:
    """Write a video whose left half grows brighter over time while its right half grows darker."""

    def draw(time: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        luma = np.full((180, 320), round(40 + 80 * time), np.uint8)
        luma[:, 160:] = round(220 - 80 * time)
        return luma

    return write_video(path, Video(draw, frame_times(SECONDS)))


def check_strip(content: bytes, source: Path) -> None:
    """Compare each thumbnail with the frame of the source in the middle of its interval."""
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.size) == ("PNG", (COLUMNS * WIDTH, HEIGHT))
        pixels = np.asarray(image.convert("RGB")).astype(float).mean(axis=2)
    frames = read_lumas(source)
    for column in range(COLUMNS):
        time = (column + 0.5) / COLUMNS * SECONDS
        _, luma = max((frame for frame in frames if frame[0] <= time + 1e-3), key=lambda frame: frame[0])
        thumbnail = pixels[:, column * WIDTH : (column + 1) * WIDTH]
        for half in (slice(5, WIDTH // 2 - 5), slice(WIDTH // 2 + 5, WIDTH - 5)):
            shown = thumbnail[:, half].mean()
            expected = (luma[:, half.start * 4 : half.stop * 4].mean() - 16) * 255 / 219
            assert abs(shown - expected) < 4, (column, half, shown, expected)
