"""A frame's samples as arrays, to be drawn on."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from gpu.media.color import PIXEL_FORMAT

Plane = NDArray[np.uint8]


def view_planes(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Y, U and V of a yuv420p frame, each (rows, columns), without their padding: views, not copies."""
    luma, blue, red = frame.planes
    return _view(luma), _view(blue), _view(red)


def empty_frame(frame: VideoFrame) -> VideoFrame:
    """A new frame of the same size; its samples are yet to be set."""
    return VideoFrame(frame.width, frame.height, PIXEL_FORMAT)


def copy_frame(frame: VideoFrame) -> VideoFrame:
    """A frame that can be drawn on: the decoder may still need its own, and a slow one is shown twice."""
    copy = empty_frame(frame)
    for target, plane in zip(view_planes(copy), view_planes(frame), strict=True):
        np.copyto(target, plane)
    return copy


def _view(plane: VideoPlane) -> Plane:
    stored: Plane = np.frombuffer(memoryview(plane), np.uint8)
    rows = stored.reshape(plane.height, abs(plane.line_size))[:, : plane.width]
    return rows[::-1] if plane.line_size < 0 else rows  # a flipped frame runs upwards in memory
