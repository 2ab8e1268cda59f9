"""Framing on real frames: position, size and time of the crop."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from gpu.errors import ExportError
from gpu.export_types.crop import crop_path, fit_axis
from gpu.export_types.framing import CropKeyframe
from tests.gpu.run_pipeline import STILL, export
from tests.support.videos import (
    Video,
    click_times,
    clicks,
    dot,
    find_dot,
    flash,
    frame_times,
    read_lumas,
    write_video,
)

MOVING = [
    {"time": 0, "x": 60, "y": 30, "width": 160, "height": 90},
    {"time": 0.5, "x": 121.5, "y": 60, "width": 160, "height": 90},
    {"time": 1.2, "x": 100, "y": 20, "width": 160, "height": 90},
]
GROWING = [
    {"time": 0, "x": 90, "y": 40, "width": 120, "height": 68},
    {"time": 0.6, "x": 40, "y": 20, "width": 220, "height": 124},
    {"time": 1.3, "x": 100, "y": 60, "width": 101, "height": 57},
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dot at (160, 90) for 1.5 s."""
    path = tmp_path_factory.mktemp("framing") / "dot.mp4"
    return write_video(path, Video(draw=lambda _: dot(160, 90), times=frame_times(1.5)))


@pytest.fixture(scope="module")
def beat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flash and a click at 1.0 s of 2 s."""
    path = tmp_path_factory.mktemp("framing") / "beat.mp4"
    return write_video(path, Video(draw=flash(1.0), times=frame_times(2), tone=clicks(2, 1.0)))


def link_source(source: Path, folder: Path) -> Path:
    """Link the source into the folder of the test."""
    path = folder / source.name
    path.hardlink_to(source)
    return path


@pytest.mark.parametrize("keyframes", [MOVING, GROWING], ids=["moving", "growing and shrinking"])
@pytest.mark.parametrize("size", [(320, 180), (160, 90), (480, 270)], ids=["twice", "once", "thrice"])
def test_a_crop_follows_its_keyframes(
    source: Path, tmp_path: Path, keyframes: list[dict[str, float]], size: tuple[int, int]
) -> None:
    path = crop_path([CropKeyframe.model_validate(key) for key in keyframes])
    output_path, _, _ = export(
        link_source(source, tmp_path), keyframes=keyframes, output_width=size[0], output_height=size[1]
    )
    shown = read_lumas(output_path)
    assert len(shown) == 45
    for time, luma in shown:
        x, y, width, height = path.at(time)
        expected = (160 - x) * size[0] / width, (90 - y) * size[1] / height
        assert find_dot(luma) == pytest.approx(expected, abs=1.0)


def test_a_slow_pan_glides(source: Path, tmp_path: Path) -> None:
    # 8 pixels in 1.5 s: on whole pixels, two at a time, the dot would jump by 4 output pixels.
    pan = [
        STILL[0] | {"x": 100, "y": 56, "width": 120, "height": 68},
        STILL[0] | {"time": 1.5, "x": 108, "y": 56, "width": 120, "height": 68},
    ]
    output_path, _, _ = export(
        link_source(source, tmp_path), keyframes=pan, output_width=240, output_height=136
    )
    places = [find_dot(luma)[0] for _, luma in read_lumas(output_path)]
    steps = [before - after for before, after in itertools.pairwise(places)]
    assert max(steps) < 1.5
    assert min(steps) > -0.5


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({}, (120, 68)),
        ({"output_width": 60}, (60, 34)),
        ({"output_height": 136}, (240, 136)),
        ({"output_width": 100, "output_height": 200}, (100, 200)),
    ],
    ids=["the crop's own", "width", "height", "both"],
)
def test_the_output_is_as_large_as_asked(
    source: Path, tmp_path: Path, size: dict[str, int], expected: tuple[int, int]
) -> None:
    crop = [{"time": 0, "x": 10, "y": 10, "width": 120, "height": 68}]
    output_path, output, _ = export(link_source(source, tmp_path), keyframes=crop, **size)
    assert (output.width, output.height) == expected
    assert read_lumas(output_path)[0][1].shape == (expected[1], expected[0])


def test_a_crop_that_sticks_out_is_moved_inside(source: Path, tmp_path: Path) -> None:
    crop = [{"time": 0, "x": 200, "y": -40, "width": 180, "height": 120}]
    output_path, _, _ = export(link_source(source, tmp_path), keyframes=crop)
    assert find_dot(read_lumas(output_path)[3][1]) == pytest.approx((20, 90), abs=1.0)


@pytest.mark.parametrize("x", [320, -200], ids=["right of it", "left of it"])
def test_a_crop_outside_the_picture_is_refused(source: Path, tmp_path: Path, x: float) -> None:
    crop: list[dict[str, Any]] = [{"time": 0, "x": x, "y": 0, "width": 160, "height": 90}]
    with pytest.raises(ExportError, match="outside the picture") as caught:
        export(link_source(source, tmp_path), keyframes=crop)
    assert caught.value.code == "crop_outside_source"


def test_a_trim_keeps_picture_and_sound_in_step(beat: Path, tmp_path: Path) -> None:
    output_path, output, _ = export(link_source(beat, tmp_path), trim={"start": 0.61, "end": 1.72})
    assert output.duration == pytest.approx(1.11, abs=1 / 30)
    assert flash_time(output_path) == pytest.approx(0.39, abs=1 / 30)
    assert click_time(output_path) == pytest.approx(0.39, abs=0.005)


def test_without_a_trim_every_frame_is_kept(beat: Path, tmp_path: Path) -> None:
    output_path, output, _ = export(link_source(beat, tmp_path))
    assert [time for time, _ in read_lumas(output_path)] == pytest.approx(frame_times(2), abs=1e-4)
    assert output.duration == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(
    "trim", [{"start": 3, "end": 4}, {"start": 1, "end": 9}], ids=["after it", "past its end"]
)
def test_a_trim_outside_the_source_is_refused(beat: Path, tmp_path: Path, trim: dict[str, float]) -> None:
    with pytest.raises(ExportError) as caught:
        export(link_source(beat, tmp_path), trim=trim)
    assert caught.value.code == "clip_outside_source"


@pytest.mark.parametrize(("fps", "frames"), [(15, 30), (60, 120), (24, 48), (29.97, 60)])
def test_another_frame_rate_resamples_and_does_not_slow(
    beat: Path, tmp_path: Path, fps: float, frames: int
) -> None:
    output_path, output, _ = export(link_source(beat, tmp_path), fps=fps)
    assert len(read_lumas(output_path)) == frames
    assert output.duration == pytest.approx(2.0, abs=1 / fps)
    assert flash_time(output_path) == pytest.approx(1.0, abs=1 / min(fps, 30))
    assert click_time(output_path) == pytest.approx(1.0, abs=0.005)


def test_an_axis_never_leaves_the_frame() -> None:
    for start in (0, 0.5, 77.7, 219.5, 220):
        cut = fit_axis(start, 100, 320, 333)
        assert 0 <= cut.start <= start
        assert cut.start + cut.length <= 320
        assert 0 <= cut.offset <= cut.scaled - 333


def flash_time(path: Path) -> float:
    """Return the time at which the picture turns white."""
    return next(time for time, luma in read_lumas(path) if luma.mean() > 128)


def click_time(path: Path) -> float:
    """Return the time at which the only click begins."""
    (time,) = click_times(path)
    return time
