"""Speed segments: their length, the position of pictures and clicks, and the pitch of the audio."""

from pathlib import Path

import numpy as np
import pytest

from gpu.config import SpeedSegment
from gpu.media.time_stretch import split_speed
from gpu.media.timeline import SpeedSpan, rate_from_fps, split_by_speed
from tests.gpu.run_pipeline import export
from tests.support.videos import (
    SOUND_RATE,
    Video,
    click_times,
    clicks,
    flash,
    frame_times,
    read_lumas,
    read_samples,
    write_video,
)


@pytest.mark.parametrize("speed", [0.1, 0.3, 0.5, 1.5, 2, 4, 8])
def test_a_segment_changes_speed_and_the_rest_keeps_its_own(tmp_path: Path, speed: float) -> None:
    tone = clicks(3, 0.2, 2.6)
    source = write_video(tmp_path / "source.mp4", Video(draw=flash(2.6), times=frame_times(3), tone=tone))
    segment = {"start": 1.0, "end": 2.0, "speed": speed}
    output_path, output, _ = export(source, segments=[segment])
    assert output.duration == pytest.approx(2 + 1 / speed, abs=1 / 30)
    at = 2.6 - 1 + 1 / speed
    assert next(time for time, luma in read_lumas(output_path) if luma.mean() > 128) == pytest.approx(
        at, abs=1 / 30
    )
    assert click_times(output_path) == pytest.approx([0.2, at], abs=0.005)


@pytest.mark.parametrize("speed", [0.25, 0.5, 2, 4])
def test_sound_inside_a_segment_stays_with_the_picture(tmp_path: Path, speed: float) -> None:
    source = write_video(
        tmp_path / "source.mp4", Video(draw=flash(1.0, 0.4), times=frame_times(2), tone=clicks(2, 1.0))
    )
    output_path, _, _ = export(source, segments=[{"start": 0, "end": 2, "speed": speed}])
    seen = next(time for time, luma in read_lumas(output_path) if luma.mean() > 128)
    assert seen == pytest.approx(1 / speed, abs=1 / 30)
    assert loudest(output_path) == pytest.approx(1.01 / speed, abs=1 / 30)


def loudest(path: Path) -> float:
    """Return the centre of the audio's energy in seconds; time stretching blurs the beginning of a burst."""
    power = np.square(read_samples(path)[0], dtype=np.float64)
    return float((np.arange(power.size) * power).sum() / power.sum() / SOUND_RATE)


@pytest.mark.parametrize("speed", [0.1, 0.5, 3, 8])
def test_the_pitch_is_kept(tmp_path: Path, speed: float) -> None:
    seconds = 1.0 if speed < 1 else 4.0
    wave = (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE)).astype(
        np.float32
    )
    source = write_video(
        tmp_path / "source.mp4", Video(draw=flash(9), times=frame_times(seconds, 10), tone=wave)
    )
    output_path, _, _ = export(source, segments=[{"start": 0, "end": seconds, "speed": speed}])
    audio = read_samples(output_path)[0]
    middle = audio[audio.size // 8 : -audio.size // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    assert np.argmax(spectrum) * SOUND_RATE / middle.size == pytest.approx(440, abs=5)


def test_a_trim_cuts_through_segments(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "source.mp4", Video(draw=flash(1.5), times=frame_times(3), tone=clicks(3, 2.5))
    )
    segments = [{"start": 0, "end": 1, "speed": 2}, {"start": 2, "end": 3, "speed": 0.5}]
    output_path, output, _ = export(source, segments=segments, trim={"start": 0.5, "end": 2.75})
    # 0.5 to 1 at 2 is 0.25 s, 1 to 2 is 1 s, 2 to 2.75 at 0.5 is 1.5 s.
    assert output.duration == pytest.approx(2.75, abs=1 / 30)
    assert next(time for time, luma in read_lumas(output_path) if luma.mean() > 128) == pytest.approx(
        0.75, abs=1 / 30
    )
    assert loudest(output_path) == pytest.approx(2.25 + 0.02, abs=1 / 30)


def test_what_no_segment_covers_plays_as_it_was() -> None:
    segments = [SpeedSegment(start=1, end=2, speed=2), SpeedSegment(start=2, end=3, speed=2)]
    assert split_by_speed(0, 4, segments) == (SpeedSpan(0, 1), SpeedSpan(1, 3, 2), SpeedSpan(3, 4))


@pytest.mark.parametrize("speed", [0.1, 0.24, 0.5, 1, 1.9, 2, 5, 8])
def test_tempo_is_changed_in_steps_of_an_octave_at_most(speed: float) -> None:
    chain = split_speed(speed)
    assert all(factor <= 2 for factor in chain)
    assert np.prod(chain) == pytest.approx(speed)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(29.97, "30000/1001"), (23.976, "24000/1001"), (25, "25"), (12.5, "25/2"), (59.94, "60000/1001")],
)
def test_a_decimal_stands_for_a_broadcast_rate(fps: float, rate: str) -> None:
    assert str(rate_from_fps(fps)) == rate
