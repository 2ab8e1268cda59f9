"""Containers with few, wrong or no timestamps: every frame is shown, in order."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpu.media import encoders
from tests.gpu.chunks.chunk_comparison import DecodedVideo, export_split
from tests.gpu.media.numbered_frames import RATE, WHOLE, draw_bar, read_numbers
from tests.gpu.run_pipeline import export
from tests.support.videos import SOUND_RATE, Video, clicks, frame_times, write_video

SECONDS = 5.0
FRAMES = round(SECONDS * RATE)
H264 = (("preset", "veryfast"), ("bf", "3"), ("g", "30"), ("crf", "18"))
KINDS = {
    "dashcam.avi": ("libx264", H264),
    "open-groups.avi": ("libx264", (*H264, ("x264-params", "open-gop=1:b-pyramid=normal"))),
    "old-camera.avi": ("mpeg4", (("bf", "2"), ("g", "30"), ("b", "2000000"))),
    "recorder.vob": ("libx264", H264),
    "dvd.vob": ("mpeg2video", (("bf", "2"), ("b", "2000000"))),
    "drone.h264": ("libx264", H264),
    "disc.m2v": ("mpeg2video", (("bf", "2"), ("b", "2000000"))),
    "phone.mp4": ("libx264", H264),
}


def write_film(path: Path) -> Path:
    codec, options = KINDS[path.name]
    has_sound = path.suffix in {".avi", ".vob"}
    tone = clicks(SECONDS, 1.0, 3.0) if has_sound else None
    video = Video(
        draw_bar, frame_times(SECONDS, RATE), tone, sound_codec="mp2", codec=codec, options=options,
        time_base=Fraction(1, RATE), rate=Fraction(RATE),
    )  # fmt: skip
    return write_video(path, video)


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_shown_once_and_in_order(tmp_path: Path, name: str) -> None:
    output, result, _ = export(write_film(tmp_path / name), keyframes=WHOLE)
    assert read_numbers(output) == list(range(FRAMES))
    assert result.duration == pytest.approx(SECONDS, abs=0.5 / RATE)


@pytest.mark.parametrize("name", KINDS)
def test_a_trim_begins_with_the_frame_of_its_time(tmp_path: Path, name: str) -> None:
    output, _, _ = export(write_film(tmp_path / name), keyframes=WHOLE, trim={"start": 2.6, "end": 4.2})
    assert read_numbers(output) == list(range(65, 105))


@pytest.mark.skipif(encoders.count_cores() < 2, reason="chunks need cores")
@pytest.mark.parametrize("name", KINDS)
def test_chunks_are_the_whole_to_the_bit(tmp_path: Path, name: str) -> None:
    source = write_film(tmp_path / name)
    whole, split = (DecodedVideo.of(export_split(source, count, keyframes=WHOLE)[0]) for count in (1, 2))
    assert whole.times == split.times
    assert all((frame == other).all() for frame, other in zip(whole.pictures, split.pictures, strict=True))


@pytest.mark.parametrize("begins", [0.0, 0.0103, 0.022, 0.0433])
def test_a_clock_of_milliseconds_loses_no_frame_wherever_the_film_begins_in_it(
    tmp_path: Path, begins: float
) -> None:
    rate, frames = 30, 60
    video = Video(
        lambda time: draw_bar(round((time - begins) * rate) / RATE),
        tuple(begins + number / rate for number in range(frames)),
        np.zeros(2 * SOUND_RATE, np.float32),
        rate=Fraction(rate),
        time_base=Fraction(1, 1_000),
    )
    frame_numbers = read_numbers(export(write_video(tmp_path / "source.mkv", video), keyframes=WHOLE)[0])
    assert sorted(set(frame_numbers)) == list(range(frames))
    assert len(frame_numbers) <= frames + 2
