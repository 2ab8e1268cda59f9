"""Estimated frame times: they rise, no frame is lost, and valid times do not change."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from av.video.frame import VideoFrame

from gpu.media.timestamps import REORDER_DEPTH, Timing, restore_times

STEP = 10


def frames(*times: int | None, duration: int = STEP) -> Iterator[VideoFrame]:
    for time in times:
        frame = VideoFrame(16, 16, "gray")
        frame.pts, frame.time_base, frame.duration = time, Fraction(1, 250), duration
        yield frame


def list_restored_times(
    frames: Iterator[VideoFrame], timing: Timing, start: int | None = 0
) -> list[int | None]:
    return [frame.pts for frame in restore_times(frames, timing, start=start, default_step=STEP)]


@pytest.mark.parametrize("timing", [Timing(), Timing(pts_in_decoding_order=True)], ids=["shown", "stored"])
def test_times_that_rise_stay_as_they_are(timing: Timing) -> None:
    assert list_restored_times(frames(0, 10, 25, 30, 100, 110), timing) == [0, 10, 25, 30, 100, 110]


def test_times_of_decoding_are_dealt_out_in_order() -> None:
    # Of every four frames the second is decoded two positions late, the fourth two positions early.
    times = [start + STEP * place for start in range(0, 400, 4 * STEP) for place in (0, 3, 2, 1)]
    assert list_restored_times(frames(*times), Timing(pts_in_decoding_order=True)) == sorted(times)
    assert len(times) > REORDER_DEPTH


def test_frames_without_a_time_follow_on_the_last_one() -> None:
    assert list_restored_times(frames(100, None, None, 130, None), Timing()) == [100, 110, 120, 130, 140]


def test_a_stream_without_times_is_counted_from_its_start() -> None:
    assert list_restored_times(frames(40, 90, None, 7, duration=0), Timing(untimed=True)) == [0, 10, 20, 30]


def test_a_frame_whose_time_does_not_rise_is_not_lost() -> None:
    assert list_restored_times(frames(0, 10, 10, 20, 15, 30), Timing()) == [0, 10, 15, 20, 25, 30]


def test_after_a_seek_nothing_is_guessed_before_the_first_time() -> None:
    assert list_restored_times(frames(None, None, 50), Timing(), start=None) == []
