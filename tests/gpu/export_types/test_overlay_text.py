"""Overlays with text, with shapes partly outside the picture, on odd sizes, and their errors."""

from pathlib import Path

import numpy as np
import pytest

from gpu.draw.text import render_line
from gpu.errors import ExportError
from tests.gpu.export_types.overlay_frames import (
    GREY,
    at,
    export_overlay,
    grey_source,
    key,
    region,
    rgb_at,
    under_black,
)
from tests.support.videos import Video, frame_times, write_video


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grey_source(tmp_path)


def test_text_is_where_and_when_it_was_asked_for_and_nowhere_else(source: Path) -> None:
    layer = {
        "text": "Gól",
        "start_time": 0.3,
        "end_time": 0.7,
        "x": 100,
        "y": 50,
        "size": 40,
        "color": "#ff0000",
    }
    output_path = export_overlay(source, text_layers=[layer])

    for time, seen in ((0.2, False), (0.3, True), (0.5, True), (0.7, False)):
        changed = np.abs(at(output_path, time).astype(int) - GREY) > 4
        assert changed.any() == seen, time
        changed[50:105, 98:180] = False
        assert not changed.any()
    red, green, blue = rgb_at(output_path, 0.5)[50:105, 98:180].reshape(-1, 3).max(axis=0)
    assert red > 200
    assert max(green, blue) < 160


@pytest.mark.parametrize(("x", "y"), [(100, 50), (37, 81)])
def test_a_text_has_the_corner_of_its_box_where_it_was_asked_for(source: Path, x: int, y: int) -> None:
    layer = {"text": "H", "start_time": 0, "end_time": 1, "x": x, "y": y, "size": 40, "outline": {"width": 0}}
    inked = at(export_overlay(source, text_layers=[layer]), 0.5).astype(int) > (GREY + 235) / 2

    line = render_line("H", 40)
    down, across = np.nonzero(inked)
    assert (across.min(), down.min()) == pytest.approx((x + line.left, y + line.top), abs=1)
    height, width = line.alpha.shape
    assert (np.ptp(across) + 1, np.ptp(down) + 1) == pytest.approx((width, height), abs=1)


def test_lines_of_text_stand_below_one_another(source: Path) -> None:
    layer = {"text": "H\nH", "start_time": 0, "end_time": 1, "x": 100, "y": 20, "size": 40}
    shown = at(export_overlay(source, text_layers=[layer]), 0.5)[:, 100:130]

    inked = (shown.max(axis=1) > 200).astype(int)
    assert np.diff(np.flatnonzero(np.diff(inked) > 0)) == pytest.approx([55], abs=1)


def test_what_lies_outside_the_picture_is_cut_off(source: Path) -> None:
    layer = {"text": "W", "start_time": 0, "end_time": 1, "x": -11, "y": -31, "size": 60}
    far = {**layer, "x": 5_000}
    regions = [region(key(x=-10, y=185)), region(key(x=5_000, y=-900))]
    shown = at(export_overlay(source, highlight_regions=regions, text_layers=[layer, far]), 0.5)

    assert shown[178, 2] == pytest.approx(GREY, abs=3)
    assert shown[100, 160] == pytest.approx(under_black(GREY, 0.2), abs=2)
    assert shown[0:30, 0:50].max() > 200


def test_odd_sides_lose_a_row_and_a_column(tmp_path: Path) -> None:
    grey = np.full((91, 161), GREY, np.uint8)
    options = (("qp", "0"),)
    video = Video(lambda _: grey, frame_times(0.2), codec="libx264", pixel_format="yuv444p", options=options)
    output_path = export_overlay(
        write_video(tmp_path / "source.mp4", video), highlight_regions=[region(key(x=80, y=45))]
    )

    assert at(output_path, 0.1).shape == (90, 160)
    assert at(output_path, 0.1)[5, 5] == pytest.approx(under_black(GREY, 0.2), abs=2)


def test_a_region_after_the_source_is_an_error(source: Path) -> None:
    with pytest.raises(ExportError) as raised:
        export_overlay(source, highlight_regions=[region(start=3, end=4)])

    assert raised.value.code == "clip_outside_source"
