"""Audio of any format, or none: stereo, in sync, as long as the video."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.gpu.run_pipeline import export
from tests.support.videos import (
    SOUND_RATE,
    Video,
    click_times,
    clicks,
    dot,
    flash,
    frame_times,
    read_samples,
    write_video,
)

BEAT = Video(draw=flash(1.0), times=frame_times(2), tone=clicks(2, 1.0))
DOT = Video(draw=lambda _: dot(250, 40), times=frame_times(0.4))


@pytest.mark.parametrize(
    ("layout", "channels", "rate"),
    [("mono", 1, 44_100), ("stereo", 2, 48_000), ("5.1", 6, 48_000), ("mono", 1, 8_000)],
)
def test_any_sound_becomes_stereo_in_step(tmp_path: Path, layout: str, channels: int, rate: int) -> None:
    tone = np.tile(clicks(2, 1.0, rate=rate), (channels, 1))
    video = replace(BEAT, tone=tone, layout=layout, sound_rate=rate)
    output_path, _, _ = export(write_video(tmp_path / "source.mp4", video))
    samples = read_samples(output_path)
    assert samples.shape[0] == 2
    assert click_times(output_path) == pytest.approx([1.0], abs=0.005)
    assert np.abs(samples).max() == pytest.approx(0.8, abs=0.12)


def test_no_sound_is_no_fault(tmp_path: Path) -> None:
    output_path, _, _ = export(write_video(tmp_path / "silent.mp4", DOT))
    with av.open(str(output_path)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("seconds", [1.2, 2.7], ids=["short", "long"])
def test_sound_of_another_length_is_fitted_to_the_picture(tmp_path: Path, seconds: float) -> None:
    output_path, output, _ = export(
        write_video(tmp_path / "source.mp4", replace(BEAT, tone=clicks(seconds, 1.0)))
    )
    assert output.duration == pytest.approx(2.0, abs=1 / 30)
    assert read_samples(output_path).shape[1] / SOUND_RATE == pytest.approx(2.0, abs=0.03)
