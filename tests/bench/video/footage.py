"""A synthetic match: players on a pitch before a panning camera, with the sound of a crowd.

`python -m tests.bench.video.footage PATH --seconds 10`. The same arguments give the same film.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# All is drawn on a frame of this size and scaled.
WIDTH, HEIGHT = 1_920, 1_080
RATE, SOUND_RATE = 30, 48_000
_FIELD_WIDTH, _STAND = 2_400, 230
_WHISTLE_SECONDS = 0.6
_SKIN, _SHADOW, _BALL = (224, 176, 140), (32, 84, 40), (248, 248, 244)
_BT709, _LIMITED = 1, 1
USUAL = {"preset": "veryfast", "crf": "19", "g": str(RATE)}


@dataclass(frozen=True)
class Player:
    """A player who runs around `x`, `y` (feet, on the field) by `reach` pixels each way; `phase` sets the time."""

    number: int
    shirt: tuple[int, int, int]
    x: float
    y: float
    reach: float
    phase: float

    def at(self, time: float) -> tuple[float, float]:
        """Return the feet's position on the screen at a time, in pixels of the full size."""
        across = self.reach * math.sin(0.9 * time + self.phase) + 0.35 * self.reach * math.sin(2.1 * time)
        down = 0.25 * self.reach * math.sin(1.3 * time + 2 * self.phase)
        return self.x + across - pan(time), self.y + down

    def height(self, time: float) -> float:
        """Return the player's height, in pixels of the full size; nearer is larger."""
        return 60 + 0.16 * self.at(time)[1]


_RED, _BLUE, _BLACK = (206, 42, 52), (44, 92, 204), (36, 36, 40)
PLAYERS = (
    Player(10, _RED, 1_150, 700, 330, 0.0),
    Player(7, _RED, 620, 520, 180, 1.1),
    Player(4, _RED, 1_650, 930, 220, 2.9),
    Player(9, _BLUE, 1_330, 640, 300, 0.6),
    Player(5, _BLUE, 900, 880, 240, 4.0),
    Player(2, _BLUE, 1_900, 600, 160, 5.2),
    Player(0, _BLACK, 1_450, 460, 140, 2.0),
)


def pan(time: float) -> float:
    """Return how far right the camera looks, in pixels of the field."""
    return (_FIELD_WIDTH - WIDTH) / 2 * (1 - math.cos(0.35 * time))


def frames(seconds: float, scale: float = 1.0) -> Iterator[Image.Image]:
    """Yield the film's pictures, `RATE` a second."""
    field = _field()
    for number in range(round(seconds * RATE)):
        time = number / RATE
        left = round(pan(time))
        shown = Image.fromarray(field[:, left : left + WIDTH])
        _draw_play(ImageDraw.Draw(shown), time)
        if scale != 1:
            shown = shown.resize((round(WIDTH * scale), round(HEIGHT * scale)), Image.Resampling.BILINEAR)
        yield shown


def _field() -> NDArray[np.uint8]:
    """Return striped grass with lines below a full stand, with grain that costs an encoder work."""
    chance = np.random.default_rng(7)
    across, down = np.meshgrid(np.arange(_FIELD_WIDTH), np.arange(HEIGHT))
    stripe = ((across + down * 0.2) // 160 % 2).astype(np.float32)
    picture = np.stack([52 + 10 * stripe, 122 + 16 * stripe, 58 + 8 * stripe], axis=-1)
    seats = chance.normal(96, 30, (_STAND // 6 + 1, _FIELD_WIDTH // 6, 3))
    picture[:_STAND] = np.kron(seats, np.ones((6, 6, 1)))[:_STAND, :_FIELD_WIDTH] * 0.7
    picture += chance.normal(0, 5, (HEIGHT, _FIELD_WIDTH, 1))
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    lines = ImageDraw.Draw(image)
    white = (226, 232, 226)
    lines.rectangle((40, _STAND + 60, _FIELD_WIDTH - 40, HEIGHT - 40), outline=white, width=6)
    lines.line((_FIELD_WIDTH // 2, _STAND + 60, _FIELD_WIDTH // 2, HEIGHT - 40), fill=white, width=6)
    lines.ellipse((_FIELD_WIDTH // 2 - 250, 520, _FIELD_WIDTH // 2 + 250, 800), outline=white, width=6)
    lines.rectangle((0, _STAND - 34, _FIELD_WIDTH, _STAND + 6), fill=(28, 48, 92))
    return cast("NDArray[np.uint8]", np.asarray(image))


def _draw_play(draw: ImageDraw.ImageDraw, time: float) -> None:
    for player in sorted(PLAYERS, key=lambda each: each.at(time)[1]):
        _draw_player(draw, player, time)
    x, y = PLAYERS[0].at(time)
    x, bounce = x + 46 + 18 * math.sin(5 * time), abs(14 * math.sin(6 * time))
    draw.ellipse((x - 9, y - 4, x + 9, y + 5), fill=_SHADOW)
    draw.ellipse((x - 9, y - 18 - bounce, x + 9, y - bounce), fill=_BALL, outline=(60, 60, 60))


def _draw_player(draw: ImageDraw.ImageDraw, player: Player, time: float) -> None:
    x, y = player.at(time)
    tall = player.height(time)
    stride = 0.16 * tall * math.sin(9 * time + player.phase)
    broad = 0.13 * tall
    draw.ellipse((x - 0.3 * tall, y - 0.06 * tall, x + 0.3 * tall, y + 0.06 * tall), fill=_SHADOW)
    leg = max(3, round(0.08 * tall))
    for way in (1, -1):
        draw.line((x, y - 0.45 * tall, x + way * stride, y), fill=_SKIN, width=leg)
        draw.line((x, y - 0.75 * tall, x - way * (broad + stride), y - 0.5 * tall), fill=_SKIN, width=leg)
    draw.rectangle((x - broad, y - 0.82 * tall, x + broad, y - 0.46 * tall), fill=player.shirt)
    draw.rectangle((x - broad, y - 0.5 * tall, x + broad, y - 0.36 * tall), fill=(240, 240, 240))
    if player.number:
        draw.text(
            (x, y - 0.66 * tall), str(player.number), fill=(255, 255, 255), font_size=0.24 * tall, anchor="mm"
        )
    draw.ellipse((x - 0.09 * tall, y - tall, x + 0.09 * tall, y - 0.81 * tall), fill=_SKIN)


def crowd(seconds: float) -> NDArray[np.float32]:
    """Return stereo samples: a murmur that swells, and a whistle at the start."""
    chance = np.random.default_rng(11)
    count = round(seconds * SOUND_RATE)
    time = np.arange(count) / SOUND_RATE
    murmur = np.stack([np.convolve(chance.normal(0, 1, count), np.ones(40) / 40, "same") for _ in range(2)])
    murmur *= 0.5 * (0.7 + 0.3 * np.sin(2 * np.pi * time / 7))
    whistle = (
        0.2
        * np.sin(2 * np.pi * (2_800 * time + 4 * np.sin(2 * np.pi * 30 * time)))
        * (time < _WHISTLE_SECONDS)
    )
    return cast("NDArray[np.float32]", (murmur + whistle).clip(-1, 1).astype(np.float32))


def make_film(path: Path, seconds: float, scale: float = 1.0, *, options: dict[str, str] = USUAL) -> Path:
    """Write the film: H.264 with these x264 options, and AAC, as a camera would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = round(WIDTH * scale), round(HEIGHT * scale), "yuv420p"
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        audio = container.add_stream("aac", rate=SOUND_RATE)
        audio.codec_context.layout = "stereo"
        for picture in frames(seconds, scale):
            frame = VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace=_BT709)))
        container.mux(video.encode(None))
        sound = AudioFrame.from_ndarray(crowd(seconds), format="fltp", layout="stereo")
        sound.sample_rate, sound.time_base = SOUND_RATE, Fraction(1, SOUND_RATE)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.video.footage", description="Film a match.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scale", type=float, default=1.0, help=f"1 is {WIDTH} x {HEIGHT}")
    arguments = parser.parse_args()
    make_film(arguments.path, arguments.seconds, arguments.scale)
