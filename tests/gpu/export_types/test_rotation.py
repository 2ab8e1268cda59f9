"""Rotation: a crop that is larger than the rotated picture shows all of it, with bars and without distortion."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gpu.export_types.rotation import limit_start
from gpu.media import encoders
from tests.gpu.chunks.chunk_comparison import DecodedVideo
from tests.gpu.chunks.chunk_comparison import export_split as in_pieces
from tests.gpu.run_pipeline import export
from tests.support.videos import Luma, Video, frame_times, read_lumas, write_video

WIDTH, HEIGHT, SIDE = 320, 180, 60
GREY, BRIGHT = 126, 235


def draw(_: float) -> Luma:
    """Draw grey with a white square in the middle."""
    luma = np.full((HEIGHT, WIDTH), GREY, np.uint8)
    luma[60:120, 130:190] = BRIGHT
    return luma


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the bounding box of a mask: left, top, width, height."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.fixture
def still(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", Video(draw, frame_times(0.5)))


def key(x: float, y: float, width: float, height: float, time: float = 0) -> dict[str, float]:
    return {"time": time, "x": x, "y": y, "width": width, "height": height}


@pytest.mark.parametrize(
    ("crop", "size", "where", "side"),
    [
        pytest.param((0, -70, 320, 320), {}, (70, 0, 180, 320), 60, id="a square"),
        pytest.param((70, -70, 180, 320), {}, (0, 0, 180, 320), 60, id="just the turned picture"),
        pytest.param((-40, -110, 400, 400), {}, (110, 40, 180, 320), 60, id="larger both ways"),
        pytest.param((-40, -60, 400, 400), {}, (110, 0, 180, 320), 60, id="higher up"),
        pytest.param((-40, -390, 400, 400), {}, (110, 80, 180, 320), 60, id="moved inside"),
        pytest.param((70, -150, 180, 320), {}, (0, 0, 180, 320), 60, id="as high, moved inside"),
        pytest.param((0, -70, 320, 320), {"output_width": 160}, (34, 0, 90, 160), 30, id="smaller"),
        pytest.param((-160, -230, 640, 640), {"output_width": 320}, (114, 80, 90, 160), 30, id="twice as large"),
        pytest.param((0, -70, 320, 320), {"output_width": 640, "output_height": 320}, (230, 0, 180, 320), 60,
                     id="in another shape"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rotation", [90, -90])
def test_a_larger_crop_shows_all_of_a_picture_that_is_turned_by_a_right_angle(
    still: Path,
    crop: tuple[int, int, int, int],
    size: dict[str, int],
    where: tuple[int, ...],
    side: int,
    rotation: int,
) -> None:
    output_path, _, _ = export(still, keyframes=[key(*crop)], rotation=rotation, quality="high", **size)
    luma = read_lumas(output_path)[5][1]
    assert box(luma > 60) == pytest.approx(where, abs=2)
    assert box(luma > 190)[2:] == pytest.approx((side, side), abs=2)


@pytest.mark.parametrize("rotation", [7, 30, 45, 120, -160, 180])
def test_a_larger_crop_cuts_no_corner_off(still: Path, rotation: int) -> None:
    output_path, _, _ = export(still, keyframes=[key(-60, -130, 440, 440)], rotation=rotation, quality="high")
    luma = read_lumas(output_path)[5][1]
    assert int((luma > 70).sum()) == pytest.approx(WIDTH * HEIGHT, rel=0.025)
    assert int((luma > 180).sum()) == pytest.approx(SIDE * SIDE, rel=0.05)


def test_a_crop_of_a_strip_shows_what_is_turned_out_of_the_frame(still: Path) -> None:
    output_path, _, _ = export(still, keyframes=[key(120, -70, 80, 320)], rotation=90, quality="high")
    assert box(read_lumas(output_path)[5][1] > 60) == pytest.approx((0, 0, 80, 320), abs=2)


def test_a_square_stays_one_while_the_crop_grows_beyond_the_turned_picture(still: Path) -> None:
    keyframes = [key(100, 30, 120, 120), key(0, -70, 320, 320, 0.2), key(-160, -230, 640, 640, 0.4)]
    output_path, _, _ = export(still, keyframes=keyframes, rotation=90, output_width=320, quality="high")
    lumas = [luma for _, luma in read_lumas(output_path)]
    sizes = [box(luma > 190)[2:] for luma in lumas]
    assert all(abs(width - height) <= 2 for width, height in sizes)
    assert sizes[0][0] == pytest.approx(160, abs=2)
    assert sizes[-1][0] == pytest.approx(30, abs=2)
    assert box(lumas[6] > 60) == pytest.approx((70, 0, 180, 320), abs=2)


def test_what_is_turned_out_of_the_frame_is_seen_where_the_spline_alone_is_larger(still: Path) -> None:
    sizes = [80, 178, 178, 80]
    keyframes = [
        key(160 - size / 2, 90 - size / 2, size, size, 0.1 * number) for number, size in enumerate(sizes)
    ]
    output_path, _, _ = export(
        still, keyframes=keyframes, rotation=90, output_width=320, fps=60, quality="high"
    )
    rows = [box(luma > 60)[3] for _, luma in read_lumas(output_path)]
    assert min(rows) >= 318


@pytest.mark.skipif(encoders.count_cores() < 2, reason="pieces take cores")
def test_in_pieces_a_turned_picture_is_the_same_to_the_bit(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", Video(draw, frame_times(5.0), rate=Fraction(30)))
    keyframes = [key(100, 30, 120, 120), key(-100, -170, 520, 520, 4)]
    films = [
        DecodedVideo.of(in_pieces(source, count, keyframes=keyframes, rotation=33, output_width=160)[0])
        for count in (1, 2)
    ]
    assert all(
        (picture == other).all() for picture, other in zip(films[0].pictures, films[1].pictures, strict=True)
    )


@pytest.mark.parametrize(
    ("start", "length", "limited"),
    [(-50, 100, 0), (300, 100, 80), (-50, 180, 0), (-150, 320, -70), (0, 320, -70), (-90, 200, -20), (-9, 200, -9),
     (-300, 400, -150), (300, 400, -70)],
)  # fmt: skip
def test_a_crop_of_a_side_of_180_turned_to_320_lies_within_it_or_around_it(
    start: float, length: float, limited: float
) -> None:
    assert limit_start(start, length, 180, 70) == limited
