"""Transport streams joined end to end: video and audio continue at the join, in sync."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gpu.errors import ExportError
from gpu.media import encoders
from gpu.sources.source import probe
from tests.gpu.chunks.chunk_comparison import DecodedVideo, export_split
from tests.gpu.media.numbered_frames import RATE, WHOLE, draw_bar, read_numbers
from tests.gpu.run_pipeline import export
from tests.support.videos import SOUND_RATE, Tone, Video, frame_times, read_samples, write_video

SECONDS = 2.0
FRAMES = round(SECONDS * RATE)
# Where the clock of each part begins.
JOINS = {
    "restarts": (1.0, 1.0),
    "leaps ahead": (1.0, 700.0),
    "leaps back": (700.0, 1.0),
    "steps back a little": (1.0, 1.5),
    "repeatedly": (1.0, 1.0, 300.0, 2.0),
}


def sine(frequency: float) -> Tone:
    times = np.arange(round(SECONDS * SOUND_RATE)) / SOUND_RATE
    return (0.4 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def write_joined(path: Path, starts: tuple[float, ...]) -> Path:
    """Write parts with consecutive frame numbers and tones of 400, 800, 1200 Hz and so on."""
    content = b""
    for number, start in enumerate(starts):
        draw = partial(_draw_later, number * SECONDS)
        options = (("preset", "veryfast"), ("g", "25"), ("bf", "2"), ("crf", "18"))
        part = Video(draw, frame_times(SECONDS, RATE), sine(400 * (number + 1)), start=start, options=options)
        content += write_video(path.with_name(f"part-{number}.ts"), part).read_bytes()
    path.write_bytes(content)
    return path


def _draw_later(offset: float, time: float) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return draw_bar(offset + time)


def find_pitch(path: Path, time: float) -> float:
    """Return the loudest frequency around a time, in hertz."""
    begin = round((time - 0.1) * SOUND_RATE)
    samples = read_samples(path)[0][begin : begin + SOUND_RATE // 5]
    return float(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax() * SOUND_RATE / len(samples))


@pytest.mark.parametrize("kind", JOINS)
def test_the_film_goes_on_where_the_clock_breaks(tmp_path: Path, kind: str) -> None:
    starts = JOINS[kind]
    output, done, ticks = export(write_joined(tmp_path / "source.ts", starts), keyframes=WHOLE)
    assert done.duration == pytest.approx(len(starts) * SECONDS, abs=0.08)
    frame_numbers = read_numbers(output)
    assert sorted(set(frame_numbers)) == list(range(len(starts) * FRAMES))
    assert frame_numbers == sorted(frame_numbers)
    for number in range(len(starts)):
        assert find_pitch(output, (number + 0.5) * SECONDS) == pytest.approx(400 * (number + 1), abs=10)
    assert any("break" in tick.message for tick in ticks)


@pytest.mark.parametrize("kind", JOINS)
def test_trims_count_on_the_joined_clock(tmp_path: Path, kind: str) -> None:
    output, _, _ = export(
        write_joined(tmp_path / "source.ts", JOINS[kind]), keyframes=WHOLE, trim={"start": 2.6, "end": 3.6}
    )
    assert read_numbers(output)[0] == pytest.approx(65, abs=1)
    assert read_numbers(output)[-1] == pytest.approx(89, abs=1)
    assert find_pitch(output, 0.5) == pytest.approx(800, abs=10)


@pytest.mark.skipif(encoders.count_cores() < 2, reason="chunks need cores")
def test_chunks_of_a_joined_film_are_the_whole_to_the_bit(tmp_path: Path) -> None:
    source = write_joined(tmp_path / "source.ts", JOINS["repeatedly"])
    whole, split = (DecodedVideo.of(export_split(source, count, keyframes=WHOLE)[0]) for count in (1, 2))
    assert whole.times == split.times
    assert all((frame == other).all() for frame, other in zip(whole.pictures, split.pictures, strict=True))


def test_a_gap_in_which_the_clock_goes_on_stays(tmp_path: Path) -> None:
    source = write_joined(tmp_path / "source.ts", (1.0, 6.0))
    assert probe(str(source)).duration == pytest.approx(7.0, abs=0.1)
    _, _, ticks = export(source, keyframes=WHOLE)
    assert not any("break" in tick.message for tick in ticks)


def test_a_picture_that_stands_still_while_the_sound_goes_on_is_no_break(tmp_path: Path) -> None:
    times = (*frame_times(1, RATE), 14.0, 14.04)
    tone = np.zeros(15 * SOUND_RATE, np.float32)
    options = (("max_interleave_delta", "0"),)
    video = Video(lambda time: draw_bar(min(time, 2.0)), times, tone, start=1.0, container_options=options)
    source = write_video(tmp_path / "source.ts", video)
    assert probe(str(source)).notes == ()
    assert probe(str(source)).duration == pytest.approx(14.08, abs=0.1)


def test_sound_that_goes_on_before_a_join_is_heard_to_its_end(tmp_path: Path) -> None:
    content = b""
    for number in range(2):
        draw = partial(_draw_later, number * SECONDS)
        part = Video(
            draw, frame_times(0.5, RATE), sine(400 * (number + 1)), start=1.0,
            container_options=(("max_interleave_delta", "0"),),
        )  # fmt: skip
        content += write_video(tmp_path / f"part-{number}.ts", part).read_bytes()
    source = tmp_path / "source.ts"
    source.write_bytes(content)
    output, done, _ = export(source, keyframes=WHOLE)
    assert done.duration == pytest.approx(2 * SECONDS, abs=0.15)  # AAC rounds up to whole blocks
    assert [find_pitch(output, time) for time in (1.5, 3.5)] == pytest.approx([400, 800], abs=10)


def test_sound_that_begins_only_with_a_later_part_is_heard_there(tmp_path: Path) -> None:
    options = (("preset", "veryfast"), ("g", "25"), ("bf", "2"))
    content = b""
    for number, tone in enumerate((None, sine(800))):
        part = Video(
            partial(_draw_later, number * SECONDS),
            frame_times(SECONDS, RATE),
            tone,
            start=1.0,
            options=options,
        )
        content += write_video(tmp_path / f"part-{number}.ts", part).read_bytes()
    source = tmp_path / "source.ts"
    source.write_bytes(content)
    output, done, _ = export(source, keyframes=WHOLE)
    assert done.duration == pytest.approx(2 * SECONDS, abs=0.1)
    assert float(np.abs(read_samples(output)[0][: round(1.8 * SOUND_RATE)]).max()) < 0.001
    assert find_pitch(output, 1.5 * SECONDS) == pytest.approx(800, abs=10)


# How many bytes of header later parts lose, and options that make the container one that can restart its clock.
RESTARTABLE = {
    "flv": (13, {}),
    "mp4": (0, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "mkv": (0, {}),
}


def write_restarting(path: Path, kind: str) -> Path:
    head, options = RESTARTABLE[kind]
    content = b""
    for number in range(2):
        draw = partial(_draw_later, number * SECONDS)
        part = Video(
            draw, frame_times(SECONDS, RATE), sine(400 * (number + 1)),
            options=(("preset", "veryfast"), ("g", "25"), ("bf", "2"), ("crf", "18")),
            container_options=tuple(options.items()),
        )  # fmt: skip
        content += write_video(path.with_name(f"part-{number}.{kind}"), part).read_bytes()[head * number :]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", RESTARTABLE)
def test_other_files_whose_clock_restarts_go_on_too(tmp_path: Path, kind: str) -> None:
    source = write_restarting(tmp_path / f"source.{kind}", kind)
    output, done, ticks = export(source, keyframes=WHOLE)
    assert done.duration == pytest.approx(2 * SECONDS, abs=0.1)
    assert sorted(set(read_numbers(output))) == list(range(2 * FRAMES))
    assert [find_pitch(output, time) for time in (1.0, 3.0)] == pytest.approx([400, 800], abs=10)
    assert any("break" in tick.message for tick in ticks)
    output, _, _ = export(source, keyframes=WHOLE, trim={"start": 2.6, "end": 3.6})
    assert read_numbers(output)[0] == pytest.approx(65, abs=2)
    assert find_pitch(output, 0.5) == pytest.approx(800, abs=10)


@pytest.mark.parametrize(("options", "is_joined"), [({}, True), ({"mpegts_pmt_start_pid": "4352"}, False)])
def test_a_video_that_goes_on_in_another_track_is_joined_or_rejected(
    tmp_path: Path, options: dict[str, str], is_joined: bool
) -> None:
    content = b""
    for number in range(2):
        more = {"mpegts_start_pid": "512", **options} if number else {}
        part = Video(
            partial(_draw_later, number * SECONDS), frame_times(SECONDS, RATE), sine(400), start=1.0,
            options=(("preset", "veryfast"), ("g", "25")), container_options=tuple(more.items()),
        )  # fmt: skip
        content += write_video(tmp_path / f"part-{number}.ts", part).read_bytes()
    source = tmp_path / "source.ts"
    source.write_bytes(content)
    if is_joined:
        output, done, _ = export(source, keyframes=WHOLE)
        assert done.duration == pytest.approx(2 * SECONDS, abs=0.1)
        # FFmpeg keeps a track's last frame back until the file has ended.
        assert len(set(read_numbers(output))) == pytest.approx(2 * FRAMES, abs=2)
    else:
        with pytest.raises(ExportError, match=r"another video track after 2\.0 s"):
            probe(str(source))
