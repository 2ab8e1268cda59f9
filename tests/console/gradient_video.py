"""A video whose brightness says where in the picture a pixel was, and reading that back from an export."""

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 30, 3
_LOW, _RANGE = 16, 219

Luma = NDArray[np.uint8]


def write_gradient(path: Path) -> Path:
    """Write a video that grows brighter from left to right and does not move."""
    row = (_LOW + _RANGE * (np.arange(WIDTH) + 0.5) / WIDTH).round().astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "qp": "4"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, content in zip(frame.planes, (row, None, None), strict=True):
            lines = np.full((plane.height, plane.line_size), 128, np.uint8)
            if content is not None:
                lines[:, :WIDTH] = content
            plane.update(lines.tobytes())
        for number in range(FPS * SECONDS):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_luma(path: Path, time: float) -> Luma:
    """Return the brightness of the frame that is shown at a time."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            if frame.time + 0.5 / FPS > time:
                plane = frame.planes[0]
                lines = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
                return lines[:, : frame.width].copy()
    raise AssertionError(f"no frame at {time} s")


def find_left_edge(luma: Luma) -> float:
    """Return where in the source the left edge of a crop of the gradient was, in pixels."""
    step = (float(luma[:, -8:].mean()) - float(luma[:, :8].mean())) / (luma.shape[1] - 8)
    edge = float(luma[:, :8].mean()) - 4 * step
    return float((edge - _LOW) / _RANGE * WIDTH)
