"""The measured exports, as each contender runs them: a swinging crop or ellipse.

It swings by 600 pixels to either side of a frame of 1920x1080, once in ten seconds.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

FFMPEG = "plain ffmpeg"
PEERS = (FFMPEG, "MoviePy", "MoviePy, usual", "OpenCV", "OpenCV, usual")
RIVALS = Path(__file__).parents[1] / "baselines"
# What Framehook's `standard` quality asks of x264 and of the sound's encoder.
PICTURE = (
    *("-c:v", "libx264", "-preset", "fast", "-crf", "21", "-rc-lookahead", "20"),
    *("-g", "60", "-pix_fmt", "yuv420p"),
    *("-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"),
    *("-movflags", "+faststart"),
)
SOUND = ("-c:a", "aac", "-b:a", "192k", "-ar", "48000", "-ac", "2")
_SWING = "600*sin(2*PI*t/10)"
_RADII, _DIM = (120, 200), 0.20


@dataclass(frozen=True)
class Command:
    """How a contender is started, and its standard input."""

    arguments: tuple[str, ...]
    stdin: str = ""


@dataclass(frozen=True)
class Stage:
    """The paths of the film, the output folder, and the Python and the ffmpeg of the peers that are installed."""

    film: Path
    folder: Path
    python: Path | None
    ffmpeg: str | None
    seconds: float


def commands(kind: str, stage: Stage) -> dict[str, Command]:
    """Return the command of every contender that is installed for `framing` or `overlay`, by name."""
    shades, cover = _masks(stage.folder)
    contenders = {"Framehook": _framehook(kind, stage)}
    if stage.ffmpeg:
        contenders[FFMPEG] = _ffmpeg(kind, stage, stage.ffmpeg, cover)
    if stage.python and stage.ffmpeg:
        python, given = str(stage.python), _script_arguments(kind, stage, shades)
        contenders |= {
            "MoviePy": _moviepy(python, given, "write", _MOVIEPY_EQUAL),
            "MoviePy, usual": _moviepy(python, given, "write", {}),
            "OpenCV": _opencv(python, given, "write", stage.ffmpeg, (*PICTURE, *SOUND)),
            "OpenCV, usual": _opencv(python, given, "write", stage.ffmpeg, ()),
        }
    return contenders


def stages(kind: str, stage: Stage) -> dict[str, dict[str, Command]]:
    """Return commands that stop after startup, after reading, and after drawing every frame."""
    shades, cover = _masks(stage.folder)
    parts = {"Framehook": _framehook_stages(kind, stage)}
    if stage.ffmpeg:
        begin = _start_command(stage, stage.ffmpeg)
        parts[FFMPEG] = {
            "start": Command((stage.ffmpeg, "-version")),
            "read": Command((*begin, "-an", *_NOWHERE)),
            "draw": Command((*begin, "-an", *_filters(kind, cover), *_NOWHERE)),
        }
    if stage.python and stage.ffmpeg:
        python, given = str(stage.python), _script_arguments(kind, stage, shades)
        moviepy = {part: _moviepy(python, given, part, {}) for part in ("read", "draw")}
        opencv = {part: _opencv(python, given, part, stage.ffmpeg, ()) for part in ("read", "draw")}
        parts["MoviePy"] = {"start": Command((python, "-c", "import moviepy")), **moviepy}
        parts["OpenCV"] = {"start": Command((python, "-c", "import cv2")), **opencv}
    return parts


def _script_arguments(kind: str, stage: Stage, shades: Path) -> tuple[str, ...]:
    return kind, str(stage.film), str(stage.folder / "rival.mp4"), str(shades)


def _framehook_stages(kind: str, stage: Stage) -> dict[str, Command]:
    given = _framehook(kind, stage).stdin
    read = _OURS.format("decode.decode_frames(film, cut, render.clock, render.ticks)")
    draw = _OURS.format("render.open_pictures(render.ticks)")
    return {
        "start": Command((sys.executable, "-c", "import gpu.__main__")),
        "read": Command((sys.executable, "-c", read), given),
        "draw": Command((sys.executable, "-c", draw), given),
    }


_MOVIEPY_EQUAL = {"preset": "fast", "audio_bitrate": "192k", "ffmpeg_params": PICTURE}
_NOWHERE = ("-f", "null", "-")
# This package knows nothing of the one that is measured, so what goes on in it is said as a script.
_OURS = """
import sys
from gpu.export_types.planning import plan_export
from gpu.export_types.registry import find_export_type
from gpu.media import decode, timeline
from gpu.sources.source import probe
from gpu.spec import AttemptSpec

spec = AttemptSpec.model_validate_json(sys.stdin.read())
film = probe(spec.transfer.sources["film"].path)
render = plan_export(find_export_type(spec.type), spec.config, {{"film": film}})
cut = timeline.split_by_speed(0.0, film.duration, [])
for _ in {}:
    pass
"""


def _moviepy(python: str, given: Sequence[str], part: str, encoder: Mapping[str, Any]) -> Command:
    return Command((python, str(RIVALS / "moviepy_script.py"), *given, part, json.dumps(encoder)))


def _opencv(python: str, given: Sequence[str], part: str, ffmpeg: str, encoder: Sequence[str]) -> Command:
    return Command((python, str(RIVALS / "opencv_loop.py"), *given, part, ffmpeg, json.dumps(encoder)))


def _framehook(kind: str, stage: Stage) -> Command:
    config = export_config(kind, stage.seconds) | {"quality": "standard"}
    return Command(
        (sys.executable, "-m", "gpu", "-"), spec(kind, config, stage.film, stage.folder / "ours.mp4")
    )


def spec(kind: str, config: Mapping[str, Any], film: Path, output: Path) -> str:
    """Return what `python -m gpu` reads for an export of one film with the key `film`."""
    return json.dumps(
        {
            "job_id": "bench",
            "attempt": 1,
            "call_id": "bench",
            "type": kind,
            "config": config,
            "transfer": {"sources": {"film": {"path": str(film)}}, "output": {"path": str(output)}},
        }
    )


def export_config(kind: str, seconds: float) -> dict[str, Any]:
    """Return the config of an export of the whole film with the key `film`."""
    configs = {"framing": _crop, "overlay": _ellipse, "annotate": _two_clips}
    return {"input_key": "film"} | configs[kind](seconds)


def _crop(seconds: float) -> dict[str, Any]:
    keys = [
        {"time": time, "x": 656.5 + _swing(time), "y": 0, "width": 607, "height": 1080}
        for time in _times(seconds)
    ]
    return {"keyframes": keys, "output_width": 608, "output_height": 1080}


def _ellipse(seconds: float) -> dict[str, Any]:
    keys = [
        {"time": time, "x": 960 + _swing(time), "y": 540, "radiusX": _RADII[0], "radiusY": _RADII[1]}
        for time in _times(seconds)
    ]
    region = {"start_time": 0, "end_time": seconds, "color": "#ffffff", "keyframes": keys}
    settings = {"dim_strength": _DIM, "fade": 0}
    return {"highlight_regions": [region], "effect_type": "dark_overlay", "overlay_settings": settings}


def _two_clips(seconds: float) -> dict[str, Any]:
    """Return both halves of the film, labelled, the second one first."""
    half = seconds / 2
    clips = [
        {
            "start_time": at,
            "end_time": at + half,
            "name": "A clip",
            "rating": 4,
            "notes": "Down the left wing",
        }
        for at in (half, 0.0)
    ]
    return {"clips": clips}


def _times(seconds: float) -> list[float]:
    """Return two times a second, often enough for the spline to follow the sine."""
    return [number / 2 for number in range(math.ceil(seconds * 2) + 1)]


def _swing(time: float) -> float:
    return 600 * math.sin(2 * math.pi * time / 10)


def _ffmpeg(kind: str, stage: Stage, ffmpeg: str, cover: Path) -> Command:
    output = str(stage.folder / "plain.mp4")
    return Command((*_start_command(stage, ffmpeg), *_filters(kind, cover), *PICTURE, *SOUND, output))


def _start_command(stage: Stage, ffmpeg: str) -> tuple[str, ...]:
    return ffmpeg, "-y", "-loglevel", "error", "-i", str(stage.film)


def _filters(kind: str, cover: Path) -> tuple[str, ...]:
    """Return the cheapest ffmpeg filters; the overlay moves a prepared cover over the frame.

    Dimming with `lutyuv` and laying the undimmed ellipse over it takes as long; `geq` takes ten times that.
    """
    if kind == "framing":
        return "-vf", f"crop=w=607:h=1080:x='656.5+{_SWING}':y=0:exact=1,scale=608:1080:flags=lanczos"
    moved = f"[1]format=yuva420p[cover];[0][cover]overlay=x='{_SWING}-960':y=-540:format=yuv420"
    return "-i", str(cover), "-filter_complex", moved


def _masks(folder: Path) -> tuple[Path, Path]:
    """Return the brightness of each pixel in grey, and the same as a black cover with opacity and outline."""
    shades, cover = folder / "shades.png", folder / "cover.png"
    box = (1920 - _RADII[0], 1080 - _RADII[1], 1920 + _RADII[0], 1080 + _RADII[1])
    grey = Image.new("L", (3840, 2160), round(255 * (1 - _DIM)))
    ImageDraw.Draw(grey).ellipse(box, fill=255)
    grey.save(shades)
    black = Image.new("RGBA", (3840, 2160), (0, 0, 0, round(255 * _DIM)))
    ImageDraw.Draw(black).ellipse(box, fill=(0, 0, 0, 0), outline=(255, 255, 255, 255), width=2)
    black.save(cover)
    return shades, cover
