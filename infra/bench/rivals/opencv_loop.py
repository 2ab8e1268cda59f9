"""`opencv_loop.py framing|overlay SOURCE OUTPUT MASK FFMPEG ENCODER`: an export as a loop of OpenCV's.

OpenCV's own writer knows no sound and, as pip installs it, no H.264: the frames go through a pipe to ffmpeg, which
encodes them as all others do. MASK and ENCODER are as in `moviepy_script.py`.
"""

import json
import math
import subprocess
import sys
from typing import Any

import cv2  # type: ignore[import-not-found]


def main(kind: str, source: str, output: str, mask: str, ffmpeg: str, encoder: str) -> None:
    """Make the export."""
    film: Any = cv2.VideoCapture(source)
    rate = film.get(cv2.CAP_PROP_FPS)
    size = "608x1080" if kind == "framing" else "1920x1080"
    frames = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", size, "-r", str(rate), "-i", "-"]
    command = [ffmpeg, "-y", "-loglevel", "error", *frames, "-i", source, "-map", "0:v", "-map", "1:a"]
    shades: Any = cv2.imread(mask) if kind == "overlay" else None
    with subprocess.Popen([*command, *json.loads(encoder), output], stdin=subprocess.PIPE) as encoding:
        assert encoding.stdin is not None
        number = 0
        while True:
            there, frame = film.read()
            if not there:
                break
            swing = 600 * math.sin(2 * math.pi * number / rate / 10)
            if kind == "framing":
                left = round(656.5 + swing)
                frame = cv2.resize(frame[:, left : left + 607], (608, 1080), interpolation=cv2.INTER_LANCZOS4)
            else:
                left = round(960 - swing)
                frame = cv2.multiply(frame, shades[540:1620, left : left + 1920], scale=1 / 255)
            encoding.stdin.write(frame.tobytes())
            number += 1
    sys.exit(encoding.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
