"""View a frame's samples as arrays, to draw on them, and reuse the memory of drawn frames."""

import weakref

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from gpu.media.color import PIXEL_FORMAT

Plane = NDArray[np.uint8]

# Lines of luma and of chroma begin at multiples of 64 bytes, as those of FFmpeg's own frames do.
_ALIGNMENT, _LINE_BYTES = 64, 128
_unused: list[Plane] = []


def view_planes(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Return Y, U and V of a yuv420p frame as views without padding, each (rows, columns)."""
    y, u, v = frame.planes
    return _view(y), _view(u), _view(v)


def empty_frame(frame: VideoFrame) -> VideoFrame:
    """Return a new frame of the same, even size; its samples are not initialized.

    It gets the memory of a frame that nothing holds any more. Fresh memory is cleared by the kernel, page by page,
    which costs a third of what drawing an ellipse does.
    """
    if frame.height % 4:  # PyAV would round the height
        return VideoFrame(frame.width, frame.height, PIXEL_FORMAT)
    rows, line = frame.height * 3 // 2, -(-frame.width // _LINE_BYTES) * _LINE_BYTES
    memory = _take_memory(rows * line + _ALIGNMENT)
    start = -memory.ctypes.data % _ALIGNMENT
    samples = memory[start : start + rows * line].reshape(rows, line)
    # The frame, and each reference that FFmpeg makes to it, keeps `samples` alive.
    weakref.finalize(samples, _unused.append, memory).atexit = False
    return VideoFrame.from_numpy_buffer(samples, PIXEL_FORMAT, width=frame.width)


def _take_memory(size: int) -> Plane:
    """Return unused memory of this size, else new memory; what was left by frames of another size is freed."""
    while _unused:
        memory = _unused.pop()
        if memory.size == size:
            return memory
    return np.empty(size, np.uint8)


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
