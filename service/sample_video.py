"""Create the sample video: a moving ball that carries the frame number.

A click marks each second. `python -m service.sample_video PATH` writes it.
"""

import math
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FPS, SECONDS = 1920, 1080, 30, 10
SAMPLE_RATE = 48_000
BALL_RADIUS = 110
CELL_SIZE = 120
DIGIT_WIDTH, DIGIT_HEIGHT = 56, 88
KEYFRAME_INTERVAL_SECONDS = 0.25

Plane = NDArray[np.uint8]

_BALL_COLOR = (150, 60, 215)  # Y, Cb, Cr: orange, which is used for nothing else
_CLICK_SECONDS, _CLICK_HERTZ, _HUM_HERTZ = 0.04, 1_320.0, 220.0


def ball_center(time: float) -> tuple[float, float]:
    """Return x and y of the ball's center in pixels at a time in seconds."""
    return 960 - 600 * math.cos(2 * math.pi * time / 5), 540 + 220 * math.sin(2 * math.pi * time / 3.1)


def follow_ball(width: float) -> list[dict[str, float]]:
    """Return keyframes of a full-height crop that keeps the ball in its center."""
    times = np.arange(0, SECONDS + KEYFRAME_INTERVAL_SECONDS, KEYFRAME_INTERVAL_SECONDS)
    return [_keyframe(float(time), width) for time in times]


def write_video(path: Path) -> None:
    """Write the video: 1920x1080 at 30 fps for ten seconds, H.264 and AAC in MP4."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.options = {"preset": "ultrafast", "crf": "20"}
        video.codec_context.gop_size = FPS
        audio = container.add_stream("aac", rate=SAMPLE_RATE)
        audio.codec_context.layout = "mono"
        container.mux(audio.encode(_audio_frame()))
        container.mux(audio.encode(None))
        for frame in _frames():
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def _keyframe(time: float, width: float) -> dict[str, float]:
    x = min(max(ball_center(time)[0] - width / 2, 0), WIDTH - width)
    return {"time": time, "x": round(x, 2), "y": 0, "width": width, "height": HEIGHT}


def _frames() -> Iterator[VideoFrame]:
    background = _background()
    luma_mask, chroma_mask = _disc_mask(BALL_RADIUS), _disc_mask(BALL_RADIUS // 2)
    for number in range(SECONDS * FPS):
        picture = background.copy()
        across, down = ball_center(number / FPS)
        x, y = 2 * round(across / 2), 2 * round(down / 2)
        _fill(picture[:HEIGHT], luma_mask, x, y, _BALL_COLOR[0])
        blue, red = _chroma_planes(picture)
        _fill(blue, chroma_mask, x // 2, y // 2, _BALL_COLOR[1])
        _fill(red, chroma_mask, x // 2, y // 2, _BALL_COLOR[2])
        _draw_frame_number(picture, number, x, y)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield frame


def _background() -> Plane:
    """Draw the background as yuv420p: three planes, stacked in one array."""
    picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    squares = ((down // CELL_SIZE + across // CELL_SIZE) % 2) * 14
    picture[:HEIGHT] = 50 + 70 * across / WIDTH + 30 * down / HEIGHT + squares
    blue, red = _chroma_planes(picture)
    blue[:] = np.linspace(150, 118, WIDTH // 2)
    red[:] = np.linspace(96, 120, HEIGHT // 2)[:, np.newaxis]
    return picture


def _chroma_planes(picture: Plane) -> tuple[Plane, Plane]:
    """Return views of the two color planes, which have half the width and height."""
    blue, red = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return blue, red


def _disc_mask(radius: int) -> NDArray[np.bool_]:
    down, across = np.mgrid[-radius:radius, -radius:radius] + 0.5
    return cast(NDArray[np.bool_], across**2 + down**2 <= radius**2)


def _fill(plane: Plane, mask: NDArray[np.bool_], x: int, y: int, value: int) -> None:
    radius = mask.shape[0] // 2
    plane[y - radius : y + radius, x - radius : x + radius][mask] = value


def _draw_frame_number(picture: Plane, number: int, x: int, y: int) -> None:
    """Draw the frame number on the ball, and a progress bar at the bottom."""
    top, left = y - DIGIT_HEIGHT // 2, x - 3 * DIGIT_WIDTH // 2
    for index, digit in enumerate(f"{number:03}"):
        begin = left + index * DIGIT_WIDTH
        picture[top : top + DIGIT_HEIGHT, begin : begin + DIGIT_WIDTH][_digit_mask(digit)] = 24
    picture[HEIGHT - 16 : HEIGHT, : WIDTH * (number + 1) // (SECONDS * FPS)] = 235


@cache
def _digit_mask(digit: str) -> NDArray[np.bool_]:
    image = Image.new("L", (DIGIT_WIDTH, DIGIT_HEIGHT))
    ImageDraw.Draw(image).text(
        (DIGIT_WIDTH / 2, DIGIT_HEIGHT / 2), digit, 255, ImageFont.load_default(84), anchor="mm"
    )
    return np.asarray(image) > 127  # noqa: PLR2004 - the middle of the range


def _audio_frame() -> AudioFrame:
    """Return all samples: a soft hum, and a click at the start of each second."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    hum = 0.05 * np.sin(2 * np.pi * _HUM_HERTZ * time)
    click = 0.5 * np.sin(2 * np.pi * _CLICK_HERTZ * time) * (time % 1 < _CLICK_SECONDS)
    samples = np.ascontiguousarray((hum + click).astype(np.float32)[np.newaxis])
    frame = AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
    return frame


if __name__ == "__main__":
    write_video(Path(sys.argv[1]))
