"""View a frame's samples as arrays, to draw on them."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from gpu.media.color import PIXEL_FORMAT

Plane = NDArray[np.uint8]


def view_planes(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Return Y, U and V of a yuv420p frame as views without padding, each (rows, columns)."""
    y, u, v = frame.planes
    return _view(y), _view(u), _view(v)


def empty_frame(frame: VideoFrame) -> VideoFrame:
    """Return a new frame of the same size; its samples are not initialized."""
    return VideoFrame(frame.width, frame.height, PIXEL_FORMAT)


def copy_frame(frame: VideoFrame) -> VideoFrame:
    """Return a copy that may be drawn on.

    The decoder may still need the original as a reference, and slow motion shows it twice.
    """
    copy = empty_frame(frame)
    for target, plane in zip(view_planes(copy), view_planes(frame), strict=True):
        np.copyto(target, plane)
    return copy


def _view(plane: VideoPlane) -> Plane:
    samples: Plane = np.frombuffer(memoryview(plane), np.uint8)
    rows = samples.reshape(plane.height, abs(plane.line_size))[:, : plane.width]
    return rows[::-1] if plane.line_size < 0 else rows  # a flipped frame is stored bottom row first
