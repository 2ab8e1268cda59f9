"""Annotate on real frames: position of every clip, transitions, audio and chapters."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpu.export_types.clip_sources import (
    BACK_AND_FORTH,
    CLICKS,
    FRAME,
    Sources,
    annotate,
    chapters,
    clip,
    source_time,
    write_sources,
)
from tests.support.videos import BLACK, SOUND_RATE, click_times, frame_times, read_lumas, read_samples


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """`coded`, `bright` and `stereo`."""
    return write_sources(tmp_path_factory.mktemp("annotate"))


def test_clips_come_in_the_order_given(sources: Sources, tmp_path: Path) -> None:
    output_path, output = annotate(sources, tmp_path, BACK_AND_FORTH, transition={"type": "cut"})
    assert output.duration == pytest.approx(2.7, abs=FRAME)
    shown = read_lumas(output_path)
    assert [time for time, _ in shown] == pytest.approx(frame_times(2.7), abs=1e-3)
    for time, luma in shown:
        begun, start = next((b, s) for b, s in ((1.9, 1.1), (1.0, 0.4), (0.0, 2.5)) if time >= b - 1e-3)
        assert source_time(luma) == pytest.approx(start + time - begun, abs=FRAME)


def test_sound_goes_with_its_picture(sources: Sources, tmp_path: Path) -> None:
    output_path, _ = annotate(sources, tmp_path, BACK_AND_FORTH)
    assert click_times(output_path) == pytest.approx([0.5, 1.6], abs=0.005)


def test_many_clips_of_awkward_lengths_do_not_drift(sources: Sources, tmp_path: Path) -> None:
    length, lead = 0.2153, 0.1
    many = [clip(CLICKS[n % 3] - lead, CLICKS[n % 3] - lead + length) for n in range(30)]
    output_path, output = annotate(sources, tmp_path, many)
    assert output.duration == pytest.approx(30 * length, abs=FRAME)
    expected = [n * length + lead for n in range(30)]
    clicks = click_times(output_path)
    assert clicks == pytest.approx(expected, abs=FRAME)
    shown = read_lumas(output_path)
    for time, at in zip(clicks, CLICKS * 10, strict=True):
        luma = next(luma for begun, luma in reversed(shown) if begun <= time)
        assert source_time(luma) == pytest.approx(at, abs=FRAME + 0.01)


def test_picture_and_sound_end_together(sources: Sources, tmp_path: Path) -> None:
    output_path, output = annotate(sources, tmp_path, [clip(0.5, 1.71), clip(0.1, 0.55)])
    assert read_samples(output_path).shape[1] / SOUND_RATE == pytest.approx(output.duration, abs=FRAME)


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        ({"type": "cut"}, [(0.0, 1.0), (1.0, 1.9), (1.9, 2.7)]),
        ({"type": "fade", "duration": 0.4}, [(0.0, 1.0), (1.0, 1.9), (1.9, 2.7)]),
        ({"type": "dissolve", "duration": 0.4}, [(0.0, 0.6), (0.6, 1.1), (1.1, 1.9)]),
    ],
    ids=["cut", "fade", "dissolve"],
)
def test_every_clip_is_a_chapter(
    sources: Sources, tmp_path: Path, transition: dict[str, Any], expected: list[tuple[float, float]]
) -> None:
    output_path, _ = annotate(sources, tmp_path, BACK_AND_FORTH, transition=transition)
    found_chapters = chapters(output_path)
    assert [title for _, _, title in found_chapters] == ["later", "earlier", "overlapping"]
    for (start, end, _), wanted in zip(found_chapters, expected, strict=True):
        assert (start, end) == pytest.approx(wanted, abs=FRAME)


def test_chapters_keep_names_of_any_script_and_number_those_without(sources: Sources, tmp_path: Path) -> None:
    clips = [clip(0, 0.5, "Łódź, 日本, مصر"), clip(1, 1.5, "  "), clip(2, 2.5, "é" * 400)]
    output_path, _ = annotate(sources, tmp_path, clips)
    assert [title for _, _, title in chapters(output_path)] == ["Łódź, 日本, مصر", "Clip 2", "é" * 127]


def test_the_index_still_comes_first(sources: Sources, tmp_path: Path) -> None:
    output_path, _ = annotate(sources, tmp_path, BACK_AND_FORTH)
    content = output_path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_a_fade_is_black_at_the_join_and_nowhere_else(sources: Sources, tmp_path: Path) -> None:
    transition = {"type": "fade", "duration": 0.4}
    output_path, output = annotate(sources, tmp_path, [clip(2, 3), clip(2, 3)], transition=transition)
    assert output.duration == pytest.approx(2.0, abs=FRAME)
    for time, luma in read_lumas(output_path):
        level = min(1.0, abs(time - 1.0) / 0.2)
        full = 20 + 50 * (2 + time % 1.0)
        assert luma.mean() == pytest.approx(BLACK + (full - BLACK) * level, abs=3)


def test_a_dissolve_shows_both_and_shortens_the_whole(sources: Sources, tmp_path: Path) -> None:
    clips = [clip(0, 1), clip(3, 4)]
    transition = {"type": "dissolve", "duration": 0.5}
    output_path, output = annotate(sources, tmp_path, clips, transition=transition)
    assert output.duration == pytest.approx(1.5, abs=FRAME)
    for time, luma in read_lumas(output_path):
        share = min(1.0, max(0.0, (time + FRAME / 2 - 0.5) / 0.5))
        expected = (20 + 50 * time) * (1 - share) + (20 + 50 * (2.5 + time)) * share
        assert luma.mean() == pytest.approx(expected, abs=3)


def test_a_dissolve_crosses_the_sound(sources: Sources, tmp_path: Path) -> None:
    # Between 0.8 and 1.5 s both are audible: at 0.9 s the click of the clip that goes, at 1.3 s that of the other.
    transition = {"type": "dissolve", "duration": 0.7}
    output_path, _ = annotate(sources, tmp_path, [clip(0.1, 1.6), clip(1.5, 3.2)], transition=transition)
    audio = read_samples(output_path)[0]
    loud = [np.abs(audio[round(at * SOUND_RATE) :][: SOUND_RATE // 50]).max() for at in (0.9, 1.3)]
    expected = [0.8 * np.cos(np.pi / 2 * 0.1 / 0.7), 0.8 * np.sin(np.pi / 2 * 0.5 / 0.7)]
    assert loud == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(("kind", "seconds"), [("fade", 1.2), ("dissolve", 1.0)])
def test_a_transition_longer_than_its_clips_is_shortened(
    sources: Sources, tmp_path: Path, kind: str, seconds: float
) -> None:
    clips = [clip(0, 0.4), clip(1, 1.2), clip(2, 2.6)]
    output_path, output = annotate(sources, tmp_path, clips, transition={"type": kind, "duration": 5})
    assert output.duration == pytest.approx(seconds, abs=FRAME)
    assert len(chapters(output_path)) == 3
