"""The memory of drawn frames: used again, and never while something holds the frame."""

import numpy as np
import pytest
from av.video.frame import VideoFrame

from gpu.media.planes import copy_frame, empty_frame, view_planes


def address(frame: VideoFrame) -> int:
    return int(np.frombuffer(memoryview(frame.planes[0]), np.uint8).ctypes.data)


@pytest.mark.parametrize("size", [(1_920, 1_080), (1_918, 1_076), (202, 358), (2, 2)])
def test_a_frame_has_the_size_and_samples_of_what_it_copies(size: tuple[int, int]) -> None:
    original = VideoFrame(*size, "yuv420p")
    for value, plane in enumerate(view_planes(original), 7):
        plane[:] = np.arange(plane.shape[1]) % 200 + value
    copy = copy_frame(original)

    assert (copy.width, copy.height, copy.format.name) == (*size, "yuv420p")
    for copied, plane in zip(view_planes(copy), view_planes(original), strict=True):
        assert np.array_equal(copied, plane)


def test_a_dropped_frame_gives_its_memory_to_the_next_of_its_size() -> None:
    first, other = VideoFrame(64, 32, "yuv420p"), VideoFrame(64, 36, "yuv420p")
    dropped, kept = empty_frame(first), empty_frame(first)
    place = address(dropped)
    assert place % 64 == 0
    del dropped
    again = empty_frame(first)
    assert address(again) == place != address(kept)

    del again
    empty_frame(other)
    assert empty_frame(first).height == 32


def test_memory_is_kept_from_others_while_an_array_holds_it() -> None:
    size = VideoFrame(64, 32, "yuv420p")
    frame = empty_frame(size)
    place, luma = address(frame), view_planes(frame)[0]
    del frame
    assert address(empty_frame(size)) != place
    del luma
    assert address(empty_frame(size)) == place
