"""Audio that begins a little before or after the video: every frame is shown exactly once."""

from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

from gpu.config import Span
from gpu.media import encoders
from gpu.media.timeline import resolve_trim
from gpu.pipeline import run
from tests.gpu.chunks.chunk_comparison import DecodedVideo, export_split
from tests.gpu.media.numbered_frames import RATE, WHOLE, draw_bar, read_numbers
from tests.gpu.run_pipeline import attempt_spec, export, run_to_end
from tests.support.videos import Video, click_times, clicks, write_video

FRAMES = 24
RATES = [Fraction(24_000, 1_001), Fraction(24), Fraction(25), Fraction(30_000, 1_001), Fraction(30), Fraction(50),
         Fraction(60_000, 1_001)]  # fmt: skip
LEADS = [-1.0, -0.6, -0.4, 0.0, 0.2, 0.31, 0.4, 0.5, 0.6, 1.0]
SOUND_CODECS = {"vob": "mp2", "ts": "aac", "avi": "libmp3lame", "mp4": "aac", "mkv": "aac"}
# Headers of these contain the length of the file, not that of its video.
INEXACT_CONTAINERS = {"flv": "aac", "nut": "aac", "wmv": "libmp3lame", "mkv": "aac", "webm": "libopus"}
VIDEO_CODECS = {"wmv": "msmpeg4", "webm": "libvpx"}


def write_film(
    path: Path, rate: Fraction, lead: float, frames: int = FRAMES, tail: float = 0.0, has_sound: bool = True
) -> Path:
    """Write a video whose audio begins `lead` frames before it.

    There is a click on its twelfth frame. `tail` is by how many frames the audio is longer.
    """
    suffix = path.suffix[1:]
    codec = VIDEO_CODECS.get(suffix, "libx264")
    options = (("bf", "2"), ("g", "12"), ("crf", "16")) if codec == "libx264" else (("b", "4000000"),)
    begins = 0 if path.suffix == ".avi" else ceil(abs(lead))  # in AVI no track begins later than another
    video = Video(
        lambda time: draw_bar((round(time * rate) - begins) / RATE),
        tuple(float((begins + number) / rate) for number in range(frames)),
        clicks((frames + tail) / float(rate), (lead + 12) / float(rate)) if has_sound else None,
        sound_codec=(SOUND_CODECS | INEXACT_CONTAINERS)[suffix],
        codec=codec,
        sound_start=max(0, begins - lead) / float(rate),
        options=options,
        rate=rate,
        time_base=1 / rate,
    )
    return write_video(path, video)


@pytest.mark.parametrize("suffix", SOUND_CODECS)
@pytest.mark.parametrize(
    ("rate", "lead"), [(RATES[number % len(RATES)], lead) for number, lead in enumerate(LEADS)], ids=str
)
def test_every_frame_is_shown_once_and_in_step(
    tmp_path: Path, suffix: str, rate: Fraction, lead: float
) -> None:
    output_path, output, _ = export(write_film(tmp_path / f"source.{suffix}", rate, lead), keyframes=WHOLE)
    assert read_numbers(output_path) == list(range(FRAMES))
    assert output.duration == pytest.approx(FRAMES / float(rate), abs=0.25 / float(rate))
    if suffix != "avi":
        (click,) = click_times(output_path)
        assert click == pytest.approx(12 / float(rate), abs=1 / float(rate) + 0.005)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("overlay", {}),
        ("annotate", {"clips": [{"start_time": 0, "end_time": 1.1, "name": "a"}], "show_labels": False}),
    ],
)
def test_other_exports_show_every_frame_once_too(
    tmp_path: Path, kind: str, fields: dict[str, object]
) -> None:
    source, output_path = write_film(tmp_path / "source.ts", Fraction(25), 0.4), tmp_path / "output.mp4"
    run_to_end(
        run(attempt_spec(source, output_path, kind=kind, quality="high", **fields), tmp_path / "scratch")
    )
    assert read_numbers(output_path) == list(range(FRAMES))


@pytest.mark.parametrize("lead", [5.2, 5.4, 5.6])
def test_before_a_long_lead_in_the_first_frame_is_held_and_the_last_is_not_lost(
    tmp_path: Path, lead: float
) -> None:
    frame_numbers = read_numbers(
        export(write_film(tmp_path / "source.mp4", Fraction(25), lead), keyframes=WHOLE)[0]
    )
    assert frame_numbers == [0] * (len(frame_numbers) - FRAMES) + list(range(FRAMES))
    assert len(frame_numbers) - FRAMES == pytest.approx(lead, abs=1)


@pytest.mark.parametrize("kind", [{"fps": 50}, {"segments": [{"start": 0, "end": 9, "speed": 0.5}]}], ids=str)
def test_at_twice_as_many_frames_each_is_shown_twice(tmp_path: Path, kind: dict[str, object]) -> None:
    source = write_film(tmp_path / "source.ts", Fraction(25), 0.4)
    frame_numbers = read_numbers(export(source, keyframes=WHOLE, **kind)[0])
    assert frame_numbers == [number for number in range(FRAMES) for _ in (0, 1)]


@pytest.mark.parametrize("offset", [0.1, 0.4, 0.6, 0.9])
def test_a_trim_up_to_the_end_has_the_last_frame_wherever_it_begins(tmp_path: Path, offset: float) -> None:
    source = write_film(tmp_path / "source.mp4", Fraction(25), 0.0)
    trim = {"start": (8 + offset) / 25, "end": FRAMES / 25}
    frame_numbers = read_numbers(export(source, keyframes=WHOLE, trim=trim)[0])
    assert frame_numbers == list(range(frame_numbers[0], FRAMES))
    assert frame_numbers[0] == pytest.approx(8 + offset, abs=1)


def test_a_trim_that_ends_before_the_picture_begins_is_kept() -> None:
    assert resolve_trim(0.05, 2.0, Span(start=0, end=1)) == (0.05, 1)
    assert resolve_trim(0.05, 2.0, Span(start=0, end=0.04)) == (0, 0.04)


@pytest.mark.parametrize("suffix", [*(SOUND_CODECS | INEXACT_CONTAINERS)])
@pytest.mark.parametrize("tail", [-0.7, 0.0, 0.7, 12.0])
def test_the_tail_of_the_sound_does_not_hold_the_last_frame(tmp_path: Path, suffix: str, tail: float) -> None:
    source = write_film(tmp_path / f"source.{suffix}", Fraction(25), 0.0, tail=tail)
    if suffix in INEXACT_CONTAINERS:
        # Hide Matroska's tag, which may be missing in other files.
        source.write_bytes(source.read_bytes().replace(b"DURATION", b"_URATION"))
    assert read_numbers(export(source, keyframes=WHOLE)[0]) == list(range(FRAMES))


@pytest.mark.parametrize("suffix", ["flv", "nut", "wmv", "mkv", "avi", "mp4"])
@pytest.mark.parametrize("frames", [2, FRAMES])
def test_the_last_frame_of_a_film_without_sound_is_shown_once(
    tmp_path: Path, suffix: str, frames: int
) -> None:
    source = write_film(tmp_path / f"source.{suffix}", Fraction(25), 0.0, frames=frames, has_sound=False)
    assert read_numbers(export(source, keyframes=WHOLE)[0]) == list(range(frames))


@pytest.mark.skipif(encoders.count_cores() < 2, reason="chunks need cores")
def test_chunks_are_the_whole_to_the_bit(tmp_path: Path) -> None:
    source = write_film(tmp_path / "source.vob", Fraction(25), 0.4, frames=120)
    whole, split = (DecodedVideo.of(export_split(source, count, keyframes=WHOLE)[0]) for count in (1, 2))
    assert whole.times == split.times
    assert all((frame == other).all() for frame, other in zip(whole.pictures, split.pictures, strict=True))
