"""Edit lists, in which an MP4 says which part of its media is shown, and when."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gpu.run_pipeline import export
from tests.support.videos import (
    SOUND_RATE,
    Video,
    click_times,
    clicks,
    flash,
    frame_times,
    read_lumas,
    write_video,
)

FRAME = 1 / 30
# Only the first frame is a keyframe, so an edit that begins later begins between keyframes.
BEAT = Video(draw=flash(1.0), times=frame_times(2), tone=clicks(2, 1.0))
MOVIE_SCALE = 1_000
ENTRY = struct.Struct(">Ii")


def trim_by_edit_list(path: Path, seconds: float, begins: float) -> Path:
    """Change the edit lists to show `seconds` from `begins` on, as a trim on a phone does."""
    content = bytearray(path.read_bytes())
    scales = [int(BEAT.time_base.denominator), SOUND_RATE]
    at = 0
    for scale in scales:  # the video track comes first
        at = content.index(b"elst", at) + 4
        assert content[at : at + 8] == b"\0\0\0\0\0\0\0\1"  # version 0, one entry
        _, start = ENTRY.unpack_from(content, at + 8)
        ENTRY.pack_into(content, at + 8, round(seconds * MOVIE_SCALE), start + round(begins * scale))
    path.write_bytes(bytes(content))
    return path


def find_flash(path: Path) -> float:
    """Return when the picture turns white."""
    return next(time for time, luma in read_lumas(path) if luma.mean() > 128)


@pytest.mark.parametrize("name", ["phone.mov", "phone.mp4"])
@pytest.mark.parametrize("begins", [0.5, 0.9], ids=["half", "nine tenths"])
def test_what_was_trimmed_away_on_the_phone_is_not_shown(tmp_path: Path, name: str, begins: float) -> None:
    source = trim_by_edit_list(write_video(tmp_path / name, BEAT), 1.0, begins)
    output_path, output, _ = export(source)
    assert output.duration == pytest.approx(1.0, abs=FRAME)
    assert find_flash(output_path) == pytest.approx(1.0 - begins, abs=FRAME)
    assert click_times(output_path) == pytest.approx([1.0 - begins], abs=FRAME)


@pytest.mark.parametrize("seconds", [1.01, 1.02, 1.03])
def test_the_last_frame_of_a_trim_on_the_phone_is_shown_once(tmp_path: Path, seconds: float) -> None:
    """The edit begins inside a frame, and ends inside another or after the video."""
    source = trim_by_edit_list(write_video(tmp_path / "phone.mp4", BEAT), seconds, 0.985)
    assert len(read_lumas(export(source)[0])) == len(read_lumas(source))


def test_a_trim_counts_from_where_the_edit_begins(tmp_path: Path) -> None:
    source = trim_by_edit_list(write_video(tmp_path / "phone.mp4", BEAT), 1.2, 0.5)
    output_path, output, _ = export(source, trim={"start": 0.3, "end": 0.9})
    assert output.duration == pytest.approx(0.6, abs=FRAME)
    assert find_flash(output_path) == pytest.approx(0.2, abs=FRAME)
    assert click_times(output_path) == pytest.approx([0.2], abs=FRAME)


def test_reordered_frames_keep_their_times(tmp_path: Path) -> None:
    """For reordered frames, the list says by how much the first one is late."""
    options = (("preset", "medium"), ("bf", "3"), ("crf", "16"))
    output_path, output, _ = export(write_video(tmp_path / "camera.mp4", replace(BEAT, options=options)))
    assert [time for time, _ in read_lumas(output_path)] == pytest.approx(frame_times(2), abs=1e-3)
    assert find_flash(output_path) == pytest.approx(1.0, abs=1e-3)
    assert click_times(output_path) == pytest.approx([1.0], abs=FRAME)
    assert output.duration == pytest.approx(2.0, abs=1e-3)


def test_a_picture_that_begins_after_the_sound_stays_in_step_with_it(tmp_path: Path) -> None:
    """An edit without media delays it."""
    late = replace(BEAT, times=tuple(time + 0.4 for time in frame_times(1.6)))
    source = write_video(tmp_path / "late.mp4", late)
    assert source.read_bytes().count(struct.pack(">i", -1) + b"\0\1\0\0") == 1
    output_path, output, _ = export(source)
    assert output.duration == pytest.approx(2.0, abs=FRAME)
    assert find_flash(output_path) == pytest.approx(1.0, abs=FRAME)
    assert click_times(output_path) == pytest.approx([1.0], abs=FRAME)
