"""Still pictures: the last one is shown while audio goes on, and is not taken for damage."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu.errors import ExportError
from gpu.pipeline import run
from gpu.sources.source import probe
from tests.gpu.media.numbered_frames import RATE, WHOLE, draw_bar, read_numbers
from tests.gpu.run_pipeline import attempt_spec, export, run_to_end
from tests.gpu.sources.test_discontinuities import find_pitch
from tests.support.videos import Tone, Video, frame_times, read_lumas, write_video

SOUND_RATE = 48_000
H264 = (("preset", "veryfast"), ("bf", "2"), ("crf", "18"))
SLIDES = Video(draw_bar, (0.0, 2.0, 4.0), time_base=Fraction(1, 2), rate=Fraction(1, 2), options=H264)


def hum(seconds: float) -> Tone:
    times = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return (0.4 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def write_slides(path: Path, *, seconds: float | None = 6.0) -> Path:
    return write_video(path, Video(**(vars(SLIDES) | {"tone": None if seconds is None else hum(seconds)})))


def write_call(path: Path, **container: str) -> Path:
    """Write a video whose picture stops after one second, with audio of five seconds."""
    options = {"max_interleave_delta": "0"} | container
    video = Video(
        draw_bar, frame_times(1, RATE), hum(5), options=H264, time_base=Fraction(1, RATE), rate=Fraction(RATE),
        container_options=tuple(options.items()), sound_codec="aac",
    )  # fmt: skip
    return write_video(path, video)


def export_clip(source: Path, start: float, end: float) -> Path:
    """Export one clip by annotate and return the output."""
    output = source.with_name("output.mp4")
    clips = [{"start_time": start, "end_time": end, "name": "a"}]
    spec = attempt_spec(source, output, kind="annotate", clips=clips, show_labels=False)
    run_to_end(run(spec, source.with_name("scratch")))
    return output


@pytest.mark.parametrize("name", ["slides.mp4", "slides.mov", "slides.mkv"])
@pytest.mark.parametrize("config", [{}, {"fps": 10}, {"parallelism": 2}], ids=["own times", "fps", "chunks"])
def test_the_last_slide_lasts_to_the_end(tmp_path: Path, name: str, config: dict[str, Any]) -> None:
    output, done, _ = export(write_slides(tmp_path / name), keyframes=WHOLE, **config)
    assert done.duration == pytest.approx(6.0, abs=0.1)
    begins = {
        number: time
        for (time, _), number in reversed(list(zip(read_lumas(output), read_numbers(output), strict=True)))
    }
    assert begins == pytest.approx({0: 0.0, 50: 2.0, 100: 4.0}, abs=0.05)
    assert find_pitch(output, 5.5) == pytest.approx(440, abs=10)


def test_slides_without_sound_last_as_long_as_their_track(tmp_path: Path) -> None:
    _, done, _ = export(write_slides(tmp_path / "slides.mp4", seconds=None), keyframes=WHOLE)
    assert done.duration == pytest.approx(6.0, abs=0.1)


def test_a_clip_of_a_slide_show_is_as_long_as_it_says(tmp_path: Path) -> None:
    output = export_clip(write_slides(tmp_path / "slides.mp4"), 3.2, 5.9)
    assert probe(str(output)).duration == pytest.approx(2.7, abs=0.05)
    assert read_numbers(output) == [50, 100]


CALLS: dict[str, dict[str, str]] = {
    "call.mkv": {},
    "call.mp4": {},
    "call.ts": {},
    "live.mkv": {"live": "1"},
    "fragments.mp4": {"movflags": "frag_keyframe+empty_moov"},
}


@pytest.mark.parametrize("name", CALLS)
def test_the_last_picture_is_shown_while_the_sound_goes_on(tmp_path: Path, name: str) -> None:
    source = write_call(tmp_path / name, **CALLS[name])
    output, done, _ = export(source, keyframes=WHOLE)
    assert done.duration == pytest.approx(5.0, abs=0.1)
    assert read_numbers(output)[-1] == RATE - 1
    assert find_pitch(output, 4.5) == pytest.approx(440, abs=10)


@pytest.mark.parametrize("name", CALLS)
def test_a_clip_may_end_where_only_the_sound_goes_on(tmp_path: Path, name: str) -> None:
    source = write_call(tmp_path / name, **CALLS[name])
    output = export_clip(source, 2.0, 4.5)
    assert probe(str(output)).duration == pytest.approx(2.5, abs=0.05)
    assert set(read_numbers(output)) == {RATE - 1}


def test_a_last_picture_that_is_shown_after_the_track_has_ended_is_shown(tmp_path: Path) -> None:
    times = (*frame_times(1, RATE), 5.0)
    video = Video(draw_bar, times, options=H264, time_base=Fraction(1, RATE), rate=Fraction(RATE))
    output, done, _ = export(write_video(tmp_path / "source.mp4", video), keyframes=WHOLE)
    assert done.duration == pytest.approx(5.04, abs=0.1)
    assert read_numbers(output)[-1] == 125


@pytest.mark.parametrize("name", ["slides.mp4", "slides.mkv"])
def test_a_slide_show_that_was_cut_off_is_rejected(tmp_path: Path, name: str) -> None:
    options = (("movflags", "+faststart"),) if name.endswith("mp4") else ()
    source = write_video(
        tmp_path / name, Video(**(vars(SLIDES) | {"tone": hum(6), "container_options": options}))
    )
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportError) as caught:
        export(source, keyframes=WHOLE)
    assert caught.value.code in {"source_truncated", "source_unreadable"}
