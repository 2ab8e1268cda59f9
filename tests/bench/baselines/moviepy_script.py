"""`moviepy_script.py framing|overlay SOURCE OUTPUT MASK STAGE ENCODER`: an export as a MoviePy script.

MASK is a grey picture, twice as large as the frame each way, that says how bright each pixel is to be. STAGE is
`read` or `draw`, to go no further than that, or `write`. ENCODER is a JSON object of arguments for `write_videofile`.
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


def place(time: float) -> float:
    """How far the crop, or the ellipse, has swung to the right."""
    return 600 * math.sin(2 * math.pi * time / 10)


def framing(frame_at: Callable[[float], Frame], time: float) -> Frame:
    """The crop before it is scaled."""
    left = round(656.5 + place(time))
    return frame_at(time)[:, left : left + 607]


def overlay(mask: NDArray[np.float32]) -> Callable[[Callable[[float], Frame], float], Frame]:
    """All but the ellipse made darker."""

    def drawn(frame_at: Callable[[float], Frame], time: float) -> Frame:
        left = round(960 - place(time))
        lit: Frame = (frame_at(time) * mask[540:1620, left : left + 1920]).astype(np.uint8)
        return lit

    return drawn


def main(kind: str, source: str, output: str, mask: str, stage: str, encoder: str) -> None:
    """Make the export."""
    clip: Any = VideoFileClip(source)
    if stage == "read":
        made = clip
    elif kind == "framing":
        made = clip.transform(framing).resized((608, 1080))
    else:
        shades = np.asarray(Image.open(mask), np.float32)[:, :, np.newaxis] / np.float32(255)
        made = clip.transform(overlay(shades))
    if stage == "write":
        made.write_videofile(output, codec="libx264", audio_codec="aac", logger=None, **json.loads(encoder))
        return
    for _ in made.iter_frames():
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
