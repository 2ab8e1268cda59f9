"""Typical uploads from phones, cameras and browsers: any container, clock and shape."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gpu.sources.source import probe
from tests.gpu.run_pipeline import export
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

BEAT = Video(draw=flash(1.0), times=frame_times(2), tone=clicks(2, 1.0))
DOT = Video(draw=lambda _: dot(250, 40), times=frame_times(0.4))


def find_flash(path: Path) -> float:
    """Return when the picture turns white."""
    return next(time for time, luma in read_lumas(path) if luma.mean() > 128)


def whole_crop(path: Path) -> list[dict[str, float]]:
    """Return a crop of the whole picture."""
    source = probe(str(path))
    return [{"time": 0, "x": 0, "y": 0, "width": source.width, "height": source.height}]


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("phone.mov", BEAT),
        ("recording.mkv", replace(BEAT, time_base=Fraction(1, 1_000))),
        ("browser.webm", replace(BEAT, codec="libvpx-vp9", options=(), sound_codec="libopus")),
        ("camera.ts", replace(BEAT, codec="mpeg2video", options=(), time_base=Fraction(1, 30))),
        (
            "old.avi",
            replace(
                BEAT, codec="mpeg4", options=(("bf", "0"),), sound_codec="mp3", time_base=Fraction(1, 30)
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_containers_and_codecs(tmp_path: Path, name: str, video: Video) -> None:
    source = write_video(tmp_path / name, video)
    origin = probe(str(source)).origin
    output_path, output, _ = export(source)
    assert output.duration == pytest.approx(2.0, abs=0.04)
    assert find_flash(output_path) == pytest.approx(find_flash(source) - origin, abs=1 / 30)
    assert click_times(output_path) == pytest.approx([1.0], abs=1 / 30)


@pytest.mark.parametrize("name", ["late.mkv", "late.ts"])
@pytest.mark.parametrize("trim", [None, {"start": 0.5, "end": 1.5}], ids=["whole", "trimmed"])
def test_time_begins_where_the_source_does(tmp_path: Path, name: str, trim: dict[str, float] | None) -> None:
    source = write_video(tmp_path / name, replace(BEAT, start=7.25))
    output_path, _, _ = export(source, **({"trim": trim} if trim else {}))
    at = 1.0 - (trim["start"] if trim else 0)
    assert find_flash(output_path) == pytest.approx(at, abs=1.5 / 30)
    assert click_times(output_path)[0] == pytest.approx(find_flash(output_path), abs=1 / 30)


@pytest.mark.parametrize("name", ["source.mp4", "source.mkv"], ids=["by its header", "by its frames alone"])
def test_variable_frame_times_are_kept(tmp_path: Path, name: str) -> None:
    times = (0.0, 0.03, 0.1, 0.11, 0.4, 0.45, 0.8, 0.81, 0.9, 1.0, 1.1, 1.11, 1.3, 1.4, 1.43, 1.7, 1.8)
    source = write_video(tmp_path / name, replace(DOT, times=times))
    output_path, output, _ = export(source)
    assert [time for time, _ in read_lumas(output_path)] == pytest.approx(times, abs=1e-3)
    assert output.duration == pytest.approx(probe(str(source)).duration, abs=1e-3)


def test_variable_frame_times_become_steady_when_asked(tmp_path: Path) -> None:
    times = (0.0, 0.03, 0.1, 0.11, 0.4, 0.45, 0.8, 0.96)
    output_path, _, _ = export(write_video(tmp_path / "source.mp4", replace(DOT, times=times)), fps=20)
    times_shown = [time for time, _ in read_lumas(output_path)]
    assert times_shown == pytest.approx(frame_times(len(times_shown) / 20, 20))


@pytest.mark.parametrize(
    ("degrees", "mirrored", "size", "place"),
    [
        (-90, False, (180, 320), (140, 250)),
        (90, False, (180, 320), (40, 70)),
        (180, False, (320, 180), (70, 140)),
        (0, True, (320, 180), (70, 40)),
    ],
    ids=["portrait", "other portrait", "upside down", "mirrored"],
)
def test_a_phone_held_any_way_gives_an_upright_picture(
    tmp_path: Path, degrees: float, mirrored: bool, size: tuple[int, int], place: tuple[float, float]
) -> None:
    source = write_video(tmp_path / "phone.mp4", replace(DOT, display_rotation=degrees, mirrored=mirrored))
    output_path, output, _ = export(source, keyframes=whole_crop(source))
    assert (output.width, output.height) == size
    assert find_dot(read_lumas(output_path)[0][1]) == pytest.approx(place, abs=1)


@pytest.mark.parametrize("rotation", [10, -25, 90])
def test_rotation_turns_clockwise_about_the_centre(tmp_path: Path, rotation: float) -> None:
    source = write_video(tmp_path / "source.mp4", replace(DOT, draw=lambda _: dot(200, 70)))
    output_path, _, _ = export(source, rotation=rotation)
    angle = np.radians(rotation)
    across = 160 + 40 * np.cos(angle) + 20 * np.sin(angle)
    down = 90 + 40 * np.sin(angle) - 20 * np.cos(angle)
    assert find_dot(read_lumas(output_path)[0][1]) == pytest.approx((across, down), abs=1)


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    source = write_video(tmp_path / "wide.mp4", replace(DOT, aspect=Fraction(4, 3)))
    output_path, output, _ = export(source, keyframes=whole_crop(source))
    assert (output.width, output.height) == (428, 180)
    assert find_dot(read_lumas(output_path)[0][1]) == pytest.approx((250 * 428 / 320, 40), abs=1)


def test_odd_dimensions(tmp_path: Path) -> None:
    video = replace(DOT, draw=lambda _: dot(250, 40, width=321, height=181), codec="ffv1", options=())
    source = write_video(tmp_path / "odd.mkv", video)
    output_path, output, _ = export(source, keyframes=whole_crop(source))
    assert (output.width, output.height) == (320, 180)
    assert find_dot(read_lumas(output_path)[0][1]) == pytest.approx((250 * 320 / 321, 40 * 180 / 181), abs=1)


def test_a_camera_of_four_thousand_columns(tmp_path: Path) -> None:
    video = Video(lambda _: dot(3_000, 1_200, width=3_840, height=2_160, radius=60), frame_times(0.2))
    source = write_video(tmp_path / "camera.mp4", video)
    crop = [{"time": 0, "x": 2_400, "y": 900, "width": 1_280, "height": 720}]
    output_path, output, _ = export(source, keyframes=crop, output_width=640)
    assert (output.width, output.height) == (640, 360)
    assert find_dot(read_lumas(output_path)[3][1]) == pytest.approx((300, 150), abs=1)
    output_path, output, _ = export(source, keyframes=whole_crop(source), output_width=3_840)
    assert (output.width, output.height) == (3_840, 2_160)
    assert find_dot(read_lumas(output_path)[3][1]) == pytest.approx((3_000, 1_200), abs=2)


def test_an_unfinished_recording_has_its_length_counted(tmp_path: Path) -> None:
    live = replace(
        BEAT, codec="libvpx", options=(), sound_codec="libopus", container_options=(("live", "1"),)
    )
    source = write_video(tmp_path / "live.webm", live)
    with av.open(str(source)) as container:
        assert container.duration is None
    output_path, output, _ = export(source)
    assert output.duration == pytest.approx(2.0, abs=0.04)
    assert find_flash(output_path) == pytest.approx(1.0, abs=1 / 30)
