"""`moviepy_script.py framing|overlay SOURCE OUTPUT MASK STAGE ENCODER`: an export as a MoviePy script.

MASK is a grey picture, twice as large as the frame each way, with the brightness of each pixel. STAGE is `read` or
`draw` to stop after that step, or `write`. ENCODER is a JSON object of arguments for `write_videofile`.
"""

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from moviepy import VideoFileClip  # type: ignore[import-not-found]
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]


def swing(time: float) -> float:
    """Return how far the crop or the ellipse is to the right."""
    return 600 * math.sin(2 * math.pi * time / 10)


def framing(frame_at: Callable[[float], Frame], time: float) -> Frame:
    """Return the crop before it is scaled."""
    left = round(656.5 + swing(time))
    return frame_at(time)[:, left : left + 607]


def overlay(mask: NDArray[np.float32]) -> Callable[[Callable[[float], Frame], float], Frame]:
    """Return a filter that darkens all but the ellipse."""

    def draw_mask(frame_at: Callable[[float], Frame], time: float) -> Frame:
        left = round(960 - swing(time))
        lit: Frame = (frame_at(time) * mask[540:1620, left : left + 1920]).astype(np.uint8)
        return lit

    return draw_mask


def main(kind: str, source: str, output: str, mask: str, stage: str, encoder: str) -> None:
    """Run the export."""
    clip: Any = VideoFileClip(source)
    if stage != "read" and kind == "framing":
        clip = clip.transform(framing).resized((608, 1080))
    elif stage != "read":
        shades = np.asarray(Image.open(mask), np.float32)[:, :, np.newaxis] / np.float32(255)
        clip = clip.transform(overlay(shades))
    if stage == "write":
        clip.write_videofile(output, codec="libx264", audio_codec="aac", logger=None, **json.loads(encoder))
        return
    for _ in clip.iter_frames():
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
