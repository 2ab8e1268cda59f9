"""`opencv_loop.py framing|overlay SOURCE OUTPUT MASK STAGE FFMPEG ENCODER`: an export as an OpenCV loop.

OpenCV's own writer has no sound and, as pip installs it, no H.264. So frames go through a pipe to ffmpeg, which
encodes them with the same settings; or, if ENCODER is an empty list, into a file of OpenCV's own that ffmpeg
then encodes again with the source's sound, as most such loops do. MASK and STAGE are as in `moviepy_script.py`.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2  # type: ignore[import-not-found]

Write = Callable[[Any], object]


def frames(kind: str, film: Any, mask: str, stage: str, write: Write) -> None:
    """Read every frame, draw on it and write it, as far as the stage goes."""
    rate = film.get(cv2.CAP_PROP_FPS)
    shades: Any = cv2.imread(mask) if kind == "overlay" else None
    number = 0
    while True:
        there, frame = film.read()
        if not there:
            return
        if stage != "read":
            write(draw_frame(kind, frame, shades, 600 * math.sin(2 * math.pi * number / rate / 10)))
        number += 1


def draw_frame(kind: str, frame: Any, shades: Any, swing: float) -> Any:
    """Return the scaled crop, or the frame with all but the ellipse darkened."""
    if kind == "framing":
        left = round(656.5 + swing)
        return cv2.resize(frame[:, left : left + 607], (608, 1080), interpolation=cv2.INTER_LANCZOS4)
    left = round(960 - swing)
    return cv2.multiply(frame, shades[540:1620, left : left + 1920], scale=1 / 255)


def main(kind: str, source: str, output: str, mask: str, stage: str, ffmpeg: str, encoder: str) -> None:
    """Run the export."""
    film: Any = cv2.VideoCapture(source)
    rate = film.get(cv2.CAP_PROP_FPS)
    size = (608, 1080) if kind == "framing" else (1920, 1080)
    sound = ["-i", source, "-map", "0:v", "-map", "1:a"]
    start = [ffmpeg, "-y", "-loglevel", "error"]
    if stage != "write":
        frames(kind, film, mask, stage, lambda _: None)
    elif settings := json.loads(encoder):
        raw = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "bgr24",
            "-s",
            f"{size[0]}x{size[1]}",
            "-r",
            str(rate),
            "-i",
            "-",
        ]
        with subprocess.Popen([*start, *raw, *sound, *settings, output], stdin=subprocess.PIPE) as encoding:
            assert encoding.stdin is not None
            pipe = encoding.stdin
            frames(kind, film, mask, stage, lambda frame: pipe.write(frame.tobytes()))
        sys.exit(encoding.returncode)
    else:
        silent = str(Path(output).with_suffix(".silent.mp4"))
        writer: Any = cv2.VideoWriter(silent, cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
        frames(kind, film, mask, stage, writer.write)
        writer.release()
        subprocess.run([*start, "-i", silent, *sound, "-c:v", "libx264", "-c:a", "aac", output], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
