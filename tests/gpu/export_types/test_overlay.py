"""Overlays as the encoder writes them: position, effect and time of the ellipse, and no other changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu.export_types import overlay
from gpu.export_types.overlay import OverlayConfig
from gpu.media import timeline
from gpu.media.decode import decode_frames
from gpu.media.encode import Render
from gpu.sources.source import probe
from tests.gpu.export_types.overlay_frames import (
    GREY,
    at,
    ellipse,
    export_overlay,
    grey_source,
    key,
    region,
    rgb_at,
    under_black,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grey_source(tmp_path)


def test_all_but_the_ellipse_is_dimmed(source: Path) -> None:
    shown = at(
        export_overlay(source, highlight_regions=[region()], overlay_settings={"dim_strength": 0.4}), 0.5
    )

    assert shown[90, 160] == pytest.approx(GREY, abs=2)
    assert shown[90, 160 + 36] == pytest.approx(GREY, abs=2)
    assert shown[90, 160 + 44] == pytest.approx(under_black(GREY, 0.4), abs=2)
    assert shown[20, 20] == pytest.approx(under_black(GREY, 0.4), abs=2)


def test_the_ellipse_follows_the_spline_in_place_and_size(source: Path) -> None:
    path = region(key(0, x=80, y=60, rx=30, ry=20), key(1, x=240, y=120, rx=50, ry=30))
    output_path = export_overlay(source, highlight_regions=[path], overlay_settings={"dim_strength": 0.6})

    for time in (0.2, 0.5, 0.8):
        # Catmull-Rom through two points with both ends doubled.
        gone = 0.5 * time + 1.5 * time**2 - time**3
        expected = (80 + 160 * gone, 60 + 60 * gone, 30 + 20 * gone, 20 + 10 * gone)
        assert ellipse(at(output_path, time), under_black(GREY, 0.6)) == pytest.approx(expected, abs=1)


def test_a_region_drawn_on_another_size_is_scaled(source: Path) -> None:
    drawn = region(key(x=400, y=400, rx=80, ry=80), videoWidth=640, videoHeight=720)
    output_path = export_overlay(source, highlight_regions=[drawn], overlay_settings={"dim_strength": 0.6})

    assert ellipse(at(output_path, 0.5), under_black(GREY, 0.6)) == pytest.approx((200, 100, 40, 20), abs=1)


def test_on_the_ground_it_is_flat_and_at_the_feet(source: Path) -> None:
    settings = {"dim_strength": 0.6, "shape": "ground"}
    output_path = export_overlay(source, highlight_regions=[region()], overlay_settings=settings)

    x, y, radius_x, radius_y = ellipse(at(output_path, 0.5), under_black(GREY, 0.6))
    assert (x, y, radius_x) == pytest.approx((160, 120, 40), abs=1)
    assert radius_y < radius_x / 2


def test_it_fades_in_and_out(source: Path) -> None:
    settings = {"dim_strength": 0.5, "fade": 0.2}
    output_path = export_overlay(
        source, highlight_regions=[region(start=0.1, end=0.9)], overlay_settings=settings
    )

    for time, level in ((0.1, 0.0), (0.2, 0.5), (0.3, 1.0), (0.5, 1.0), (0.8, 0.5), (0.9, 0.0)):
        assert at(output_path, time)[10, 10] == pytest.approx(under_black(GREY, 0.5 * level), abs=2), time
        assert at(output_path, time)[90, 160] == pytest.approx(GREY, abs=2), time


def test_ellipses_that_overlap_are_dimmed_around_once(source: Path) -> None:
    two = [region(key(x=130)), region(key(x=190))]
    shown = at(export_overlay(source, highlight_regions=two, overlay_settings={"dim_strength": 0.4}), 0.5)

    assert [shown[90, x] for x in (120, 160, 200)] == pytest.approx([GREY] * 3, abs=2)
    assert shown[90, 60] == pytest.approx(under_black(GREY, 0.4), abs=2)


def test_a_boost_lifts_the_ellipse_once_and_leaves_the_rest(source: Path) -> None:
    two = [region(key(x=130)), region(key(x=190))]
    settings = {"dim_strength": 0.5}
    output_path = export_overlay(
        source, highlight_regions=two, effect_type="brightness_boost", overlay_settings=settings
    )

    shown = at(output_path, 0.5)
    assert [shown[90, x] for x in (120, 160, 200)] == pytest.approx([16 + (GREY - 16) * 1.5] * 3, abs=2)
    assert shown[90, 60] == pytest.approx(GREY, abs=2)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        pytest.param({"color": "#ff0000"}, (255, 0, 0), id="the keyframe's colour"),
        pytest.param({}, (0, 0, 255), id="the region's colour"),
        pytest.param({"color": "#00ff00", "strokeOpacity": 0.5}, (62, 189, 62), id="half transparent"),
    ],
)
def test_the_outline_has_its_colour(source: Path, look: Any, expected: tuple[int, int, int]) -> None:
    drawn = region(key(**look), color="#0000ff")
    output_path = export_overlay(
        source, highlight_regions=[drawn], effect_type="original", overlay_settings={"stroke_width": 72}
    )

    shown = rgb_at(output_path, 0.5)
    if look.get("strokeOpacity") is None:
        assert shown[90, 160 + 40] == pytest.approx(expected, abs=12)
    assert int(np.argmax(shown[90, 160 + 40])) == int(np.argmax(expected))
    grey = shown[20, 20]
    assert shown[90, 160] == pytest.approx(grey, abs=3)
    assert shown[90, 160 + 40 + 8].mean() < 0.8 * grey.mean()  # the dark rim


def test_a_thin_outline_is_two_pixels_wide(source: Path) -> None:
    settings = {"stroke_width": 1}
    output_path = export_overlay(
        source,
        highlight_regions=[region(color="#ffffff")],
        effect_type="original",
        overlay_settings=settings,
    )

    row = at(output_path, 0.5)[90, 180:220].astype(int)
    assert ((row - GREY).clip(0) / (235 - GREY)).sum() == pytest.approx(2, abs=0.7)


def test_a_fill_is_laid_inside(source: Path) -> None:
    settings = {"fill_enabled": True, "fill_opacity": 0.5}
    white = region(color="#ffffff")
    output_path = export_overlay(
        source, highlight_regions=[white], effect_type="original", overlay_settings=settings
    )

    assert at(output_path, 0.5)[90, 160] == pytest.approx((GREY + 235) / 2, abs=2)
    assert at(output_path, 0.5)[20, 20] == pytest.approx(GREY, abs=2)


def test_a_disabled_region_draws_nothing(source: Path) -> None:
    regions = [region(start=0, end=0.3), region(start=0.5, end=0.9, enabled=False)]
    output_path = export_overlay(source, highlight_regions=regions)

    assert at(output_path, 0.2)[10, 10] < GREY - 10
    assert at(output_path, 0.6)[10, 10] == pytest.approx(GREY, abs=2)


def test_keyframes_count_up_to_a_frame_beyond_the_bounds(source: Path) -> None:
    keys = (key(0, x=40), key(0.27, x=100), key(0.73, x=220), key(1.0, x=300))
    output_path = export_overlay(
        source, highlight_regions=[region(*keys, start=0.3, end=0.7)], overlay_settings={"dim_strength": 0.6}
    )

    gone = (0.5 - 0.27) / 0.46
    expected = 100 + 120 * (0.5 * gone + 1.5 * gone**2 - gone**3)
    assert ellipse(at(output_path, 0.5), under_black(GREY, 0.6))[0] == pytest.approx(expected, abs=1)


def test_frames_without_anything_on_them_are_the_decoded_ones(source: Path) -> None:
    config = OverlayConfig.model_validate(
        {
            "input_key": "source",
            "highlight_regions": [region(start=0.4, end=0.6)],
            "overlay_settings": {"fade": 0},
        }
    )
    source_video = probe(str(source))
    planned = overlay.plan(config, {"source": source_video})
    assert isinstance(planned, Render)
    plain = decode_frames(
        source_video, timeline.split_by_speed(0.0, source_video.duration, []), planned.clock, planned.ticks
    )

    same = [
        all(
            bytes(plane) == bytes(other)
            for plane, other in zip(before.frame.planes, after.frame.planes, strict=True)
        )
        for before, after in zip(plain, planned.open_pictures(planned.ticks), strict=True)
    ]
    assert [number for number, alike in enumerate(same) if not alike] == list(range(12, 18))
