"""Clips from different sources, and clips that fail: the error names the clip."""

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import ValidationError

from tests.gpu.export_types.clip_sources import (
    BACK_AND_FORTH,
    BRIGHT,
    FRAME,
    Sources,
    annotate,
    clip,
    export_error,
    grey,
    source_time,
    write_sources,
)
from tests.support.videos import (
    BLACK,
    SOUND_RATE,
    Luma,
    Video,
    click_times,
    frame_times,
    read_lumas,
    read_samples,
    write_video,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """`coded`, `bright` and `stereo`."""
    return write_sources(tmp_path_factory.mktemp("annotate"))


def test_sources_of_any_kind_are_joined(sources: Sources, tmp_path: Path) -> None:
    clips = [
        clip(0.6, 1.2, input_key="coded"),
        clip(0.5, 1.0, input_key="bright"),
        clip(0.2, 1.2, input_key="stereo"),
        clip(1.8, 2.4, input_key="coded"),
    ]
    output_path, output = annotate(sources, tmp_path, clips)
    assert (output.width, output.height) == (320, 180)
    assert output.duration == pytest.approx(2.7, abs=FRAME)
    shown = dict(enumerate(luma for _, luma in read_lumas(output_path)))
    assert len(shown) == 81
    assert source_time(shown[9]) == pytest.approx(0.9, abs=FRAME)
    assert columns(shown[25]) == ([BLACK, BRIGHT, BLACK], [70, 250])
    assert rows(shown[48]) == ([BLACK, 100, BLACK], [22, 156])
    assert source_time(shown[72]) == pytest.approx(2.1, abs=FRAME)
    assert click_times(output_path) == pytest.approx([0.4, 1.4, 2.3], abs=0.005)
    quiet = read_samples(output_path)[:, round(0.62 * SOUND_RATE) : round(1.08 * SOUND_RATE)]
    assert np.abs(quiet).max() < 0.01


def columns(luma: Luma) -> tuple[list[int], list[int]]:
    """Return the greys of a letterboxed picture from left to right, and the columns at which they change."""
    line = luma.mean(axis=0)
    edges = np.flatnonzero(np.abs(np.diff((line > 58).astype(int)))) + 1
    bounds = [0, *edges, line.size]
    inside = [(low + high) // 2 for low, high in itertools.pairwise(bounds)]
    return [round(float(line[at])) for at in inside], [int(edge) for edge in edges]


def rows(luma: Luma) -> tuple[list[int], list[int]]:
    """Return the greys from top to bottom, and the rows at which they change."""
    return columns(luma.T)


def test_the_first_clip_decides_on_size_and_rate(sources: Sources, tmp_path: Path) -> None:
    clips = [clip(0, 0.5, input_key="stereo"), clip(1, 1.5)]
    output_path, output = annotate(sources, tmp_path, clips)
    assert (output.width, output.height) == (240, 100)
    assert len(read_lumas(output_path)) == 24


def test_a_rate_can_be_asked_for(sources: Sources, tmp_path: Path) -> None:
    output_path, output = annotate(sources, tmp_path, BACK_AND_FORTH, fps=15)
    assert output.duration == pytest.approx(2.7, abs=1 / 15)
    assert abs(len(read_lumas(output_path)) - 2.7 * 15) <= 1


def test_uneven_frame_times_are_kept_where_nothing_is_mixed(tmp_path: Path) -> None:
    times = (0.0, 0.1, 0.13, 0.2, 0.5, 0.51, 0.7, 1.0, 1.21, 1.3, 1.6, 1.9)
    path = write_video(tmp_path / "uneven.mp4", Video(draw=lambda time: grey(20 + 50 * time), times=times))
    output_path, _ = annotate({"coded": path}, tmp_path, [clip(0.5, 1.3), clip(0.1, 0.5)])
    assert [time for time, _ in read_lumas(output_path)] == pytest.approx(
        [0.0, 0.01, 0.2, 0.5, 0.71, 0.8, 0.83, 0.9], abs=0.002
    )


def test_without_any_sound_there_is_no_sound(sources: Sources, tmp_path: Path) -> None:
    output_path, _ = annotate(sources, tmp_path, [clip(0, 1, input_key="bright")])
    with av.open(str(output_path)) as container:
        assert not container.streams.audio


def test_a_clip_shorter_than_a_frame_shows_one(sources: Sources, tmp_path: Path) -> None:
    output_path, _ = annotate(sources, tmp_path, [clip(1, 1.001), clip(2, 2.1)])
    assert [source_time(luma) for _, luma in read_lumas(output_path)] == pytest.approx(
        [1, 2, 2.033, 2.067], abs=FRAME
    )


def test_a_clip_without_length_is_refused(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="must be after"):
        annotate(sources, tmp_path, [clip(1, 1)])


@pytest.mark.parametrize(("start", "end"), [(5, 6), (3, 9)], ids=["after it", "past its end"])
def test_a_clip_outside_its_source_is_named(
    sources: Sources, tmp_path: Path, start: float, end: float
) -> None:
    error = export_error(sources, tmp_path, [clip(0, 1, "fine"), clip(start, end, "too late")])
    assert error.code == "clip_outside_source"
    assert "Clip 2 (too late)" in error.message


def test_a_missing_source_fails_the_export(sources: Sources, tmp_path: Path) -> None:
    error = export_error(sources, tmp_path, [clip(0, 1), clip(0, 1, input_key="nowhere")])
    assert error.code == "source_missing"


def test_a_clip_that_breaks_off_fails_the_export_and_is_named(sources: Sources, tmp_path: Path) -> None:
    whole = write_video(
        tmp_path / "whole.mp4",
        Video(
            draw=lambda time: np.random.default_rng(round(time * 30)).integers(16, 236, (180, 320), np.uint8),
            times=frame_times(4),
            container_options=(("movflags", "faststart"),),
        ),
    )
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    clips = [clip(0, 1, "fine"), clip(2, 4, "broken", input_key="broken")]
    error = export_error({**sources, "broken": broken}, tmp_path, clips)
    assert error.code in {"source_truncated", "decode_failed"}
    assert "Clip 2 (broken)" in error.message
