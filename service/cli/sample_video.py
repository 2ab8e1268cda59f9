"""A video to try things on: a ball that swings over a chequered gradient, the frame's number, and a click a second."""

import math
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
SOUND_RATE = 48_000
RADIUS = 110
CELL = 120
DIGIT_WIDTH, DIGIT_HEIGHT = 56, 88
KEYFRAME_EVERY_SECONDS = 0.25

Plane = NDArray[np.uint8]

_BALL = (150, 60, 215)  # Y, Cb, Cr: orange, which nothing else here is
_TICK_SECONDS, _TICK_HERTZ, _HUM_HERTZ = 0.04, 1_320.0, 220.0


def centre(time: float) -> tuple[float, float]:
    """Where the ball's centre is at a time in seconds, in pixels."""
    return 960 - 600 * math.cos(2 * math.pi * time / 5), 540 + 220 * math.sin(2 * math.pi * time / 3.1)


def follow(width: float) -> list[dict[str, float]]:
    """Keyframes of a crop over the whole height that keeps the ball in its middle."""
    times = np.arange(0, SECONDS + KEYFRAME_EVERY_SECONDS, KEYFRAME_EVERY_SECONDS)
    return [_keyframe(float(time), width) for time in times]


def make(path: Path) -> None:
    """Write the video: 1920x1080 at 30 fps for ten seconds, H.264 and AAC in MP4."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.options = {"preset": "ultrafast", "crf": "20"}
        video.codec_context.gop_size = FPS
        sound = container.add_stream("aac", rate=SOUND_RATE)
        sound.codec_context.layout = "mono"
        container.mux(sound.encode(_sound()))
        container.mux(sound.encode(None))
        for frame in _frames():
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def _keyframe(time: float, width: float) -> dict[str, float]:
    x = min(max(centre(time)[0] - width / 2, 0), WIDTH - width)
    return {"time": time, "x": round(x, 2), "y": 0, "width": width, "height": HEIGHT}


def _frames() -> Iterator[VideoFrame]:
    ground = _ground()
    ball, small = _disc(RADIUS), _disc(RADIUS // 2)
    for number in range(SECONDS * FPS):
        picture = ground.copy()
        across, down = centre(number / FPS)
        x, y = 2 * round(across / 2), 2 * round(down / 2)
        _paint(picture[:HEIGHT], ball, x, y, _BALL[0])
        blue, red = _chroma(picture)
        _paint(blue, small, x // 2, y // 2, _BALL[1])
        _paint(red, small, x // 2, y // 2, _BALL[2])
        _count(picture, number, x, y)
        frame = VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield frame


def _ground() -> Plane:
    """A yuv420p picture: three planes, one below the other."""
    picture = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    squares = ((down // CELL + across // CELL) % 2) * 14
    picture[:HEIGHT] = 50 + 70 * across / WIDTH + 30 * down / HEIGHT + squares
    blue, red = _chroma(picture)
    blue[:] = np.linspace(150, 118, WIDTH // 2)
    red[:] = np.linspace(96, 120, HEIGHT // 2)[:, np.newaxis]
    return picture


def _chroma(picture: Plane) -> tuple[Plane, Plane]:
    """Views of the two colour planes, half as wide and high as the picture."""
    blue, red = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return blue, red


def _disc(radius: int) -> NDArray[np.bool_]:
    down, across = np.mgrid[-radius:radius, -radius:radius] + 0.5
    return cast(NDArray[np.bool_], across**2 + down**2 <= radius**2)


def _paint(plane: Plane, shape: NDArray[np.bool_], x: int, y: int, value: int) -> None:
    radius = shape.shape[0] // 2
    plane[y - radius : y + radius, x - radius : x + radius][shape] = value


def _count(picture: Plane, number: int, x: int, y: int) -> None:
    """The frame's number on the ball, and below a bar that grows over the whole length."""
    top, left = y - DIGIT_HEIGHT // 2, x - 3 * DIGIT_WIDTH // 2
    for place, sign in enumerate(f"{number:03}"):
        begin = left + place * DIGIT_WIDTH
        picture[top : top + DIGIT_HEIGHT, begin : begin + DIGIT_WIDTH][_digit(sign)] = 24
    picture[HEIGHT - 16 : HEIGHT, : WIDTH * (number + 1) // (SECONDS * FPS)] = 235


@cache
def _digit(sign: str) -> NDArray[np.bool_]:
    image = Image.new("L", (DIGIT_WIDTH, DIGIT_HEIGHT))
    ImageDraw.Draw(image).text(
        (DIGIT_WIDTH / 2, DIGIT_HEIGHT / 2), sign, 255, ImageFont.load_default(84), anchor="mm"
    )
    return np.asarray(image) > 127  # noqa: PLR2004 - the middle of the range


def _sound() -> AudioFrame:
    """A soft hum, and a click as each second begins."""
    time = np.arange(SECONDS * SOUND_RATE) / SOUND_RATE
    hum = 0.05 * np.sin(2 * np.pi * _HUM_HERTZ * time)
    click = 0.5 * np.sin(2 * np.pi * _TICK_HERTZ * time) * (time % 1 < _TICK_SECONDS)
    samples = np.ascontiguousarray((hum + click).astype(np.float32)[np.newaxis])
    frame = AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = SOUND_RATE, Fraction(1, SOUND_RATE), 0
    return frame
