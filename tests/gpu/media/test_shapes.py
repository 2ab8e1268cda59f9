"""Pictures of another shape are fitted in with bars; transparency shows the background."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from pydantic import ValidationError

from gpu.export_types.crop import Crop, fit_crop
from gpu.export_types.framing import FramingConfig
from gpu.media.color import FrameConverter
from gpu.pipeline import run
from tests.gpu.chunks.chunk_comparison import DecodedVideo, export_split
from tests.gpu.run_pipeline import STILL, attempt_spec, export, run_to_end
from tests.support.videos import Luma, Video, frame_times, read_lumas, write_video

GREY, BRIGHT = 126, 235
BLUE = "#2060c0"


def draw_square(width: int, height: int, side: int = 60) -> Luma:
    """Return a grey picture with a white square in the middle."""
    luma = np.full((height, width), GREY, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    luma[top : top + side, left : left + side] = BRIGHT
    return luma


def find_square(luma: Luma) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the white square."""
    white = luma > 190
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def find_picture(luma: Luma) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the picture between black bars."""
    shown = luma > 60
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def read_rgb(path: Path, number: int = 3) -> Any:
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[number]
        return frame.to_ndarray(format="rgb24", src_colorspace=1, dst_colorspace=1).astype(int)


@pytest.fixture
def still(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", Video(lambda _: draw_square(320, 180), frame_times(1.0)))


@pytest.mark.parametrize(
    ("crop", "fields", "expected_picture", "expected_square"),
    [
        pytest.param((0, -70, 320, 320), {}, (0, 70, 320, 180), (130, 130, 60), id="a square"),
        pytest.param((0, -10, 320, 320), {}, (0, 10, 320, 180), (130, 70, 60), id="a square, higher up"),
        pytest.param((0, -190, 320, 320), {}, (0, 140, 320, 180), (130, 200, 60), id="moved inside"),
        pytest.param((-40, -110, 400, 400), {}, (40, 110, 320, 180), (170, 170, 60), id="larger both ways"),
        pytest.param((0, -194, 320, 568), {}, (0, 194, 320, 180), (130, 254, 60), id="a telephone"),
        pytest.param((0, -70, 320, 320), {"output_width": 160}, (0, 36, 160, 90), (66, 66, 30), id="smaller"),
        pytest.param((80, -70, 160, 320), {}, (0, 70, 160, 180), (50, 130, 60), id="larger one way alone"),
        pytest.param((0, 0, 320, 180), {"output_width": 180, "output_height": 320}, (0, 110, 180, 100), (74, 144, 34),
                     id="all of it in another shape"),
        pytest.param((80, 0, 160, 180), {"output_width": 320, "output_height": 180}, (80, 0, 160, 180), (130, 60, 60),
                     id="a part of it in another shape"),
    ],
)  # fmt: skip
def test_a_crop_is_never_squeezed(
    still: Path,
    crop: tuple[float, ...],
    fields: dict[str, int],
    expected_picture: tuple[int, ...],
    expected_square: tuple[int, int, int],
) -> None:
    x, y, width, height = crop
    keyframes = [{"time": 0, "x": x, "y": y, "width": width, "height": height}]
    output_path, _, _ = export(still, keyframes=keyframes, quality="high", **fields)
    luma = read_lumas(output_path)[5][1]
    assert find_picture(luma) == pytest.approx(expected_picture, abs=2)
    assert find_square(luma) == pytest.approx((*expected_square, expected_square[2]), abs=2)


def test_a_square_stays_one_while_the_crop_grows_beyond_the_picture(still: Path) -> None:
    keyframes = [
        {"time": 0, "x": 100, "y": 30, "width": 120, "height": 120},
        {"time": 0.5, "x": 0, "y": -70, "width": 320, "height": 320},
        {"time": 0.9, "x": -160, "y": -230, "width": 640, "height": 640},
    ]
    output_path, _, _ = export(still, keyframes=keyframes, output_width=320, quality="high")
    sizes = [find_square(luma)[2:] for _, luma in read_lumas(output_path)]
    assert all(abs(width - height) <= 2 for width, height in sizes)
    assert sizes[0][0] == pytest.approx(160, abs=2)
    assert sizes[-1][0] == pytest.approx(30, abs=2)


def test_a_turned_picture_is_not_squeezed_either(still: Path) -> None:
    keyframes = [{"time": 0, "x": 0, "y": -70, "width": 320, "height": 320}]
    output_path, _, _ = export(still, keyframes=keyframes, rotation=90, quality="high")
    assert find_square(read_lumas(output_path)[5][1]) == pytest.approx((130, 130, 60, 60), abs=2)


def test_bars_have_the_colour_that_is_asked_for(still: Path) -> None:
    keyframes = [{"time": 0, "x": 0, "y": -70, "width": 320, "height": 320}]
    output_path, _, _ = export(still, keyframes=keyframes, rotation=20, background=BLUE, quality="high")
    pixels = read_rgb(output_path)
    for place in (pixels[20, 160], pixels[300, 10], pixels[74, 4]):
        assert tuple(place) == pytest.approx((0x20, 0x60, 0xC0), abs=5)


@pytest.mark.parametrize("background", ["white", "#12", "black;drawtext", "", 1])
def test_a_background_is_a_colour(background: Any) -> None:
    with pytest.raises(ValidationError):
        FramingConfig.model_validate({"input_key": "a", "keyframes": STILL, "background": background})


def test_a_crop_that_misses_the_shape_by_a_rounding_fills_the_output() -> None:
    across, down = fit_crop(Crop(100, 0, 607, 1_080), (1_920, 1_080), (608, 1_080))
    assert (across.out, across.offset, down.out, down.offset) == (608, 0, 1_080, 0)
    assert across.length / 608 == pytest.approx(down.length / 1_080)


def write_joined(folder: Path, *parts: Video) -> Path:
    """Write transport streams of one second each, one after another."""
    source = folder / "source.ts"
    content = b""
    for number, part in enumerate(parts):
        path = folder / f"part-{number}.ts"
        content += write_video(path, replace(part, start=float(number))).read_bytes()
    source.write_bytes(content)
    return source


WIDE = Video(
    lambda _: draw_square(320, 180), frame_times(1.0), options=(("bf", "0"), ("crf", "12"), ("g", "15"))
)
TALL = replace(WIDE, draw=lambda _: draw_square(180, 320))
SMALL = replace(WIDE, draw=lambda _: draw_square(160, 90, 30))
STRETCHED = replace(WIDE, aspect=Fraction(4, 3))


@pytest.mark.parametrize(
    ("then", "expected_picture", "side"),
    [
        pytest.param(TALL, (108, 0, 102, 180), 34, id="the telephone is turned"),
        pytest.param(SMALL, (0, 0, 320, 180), 60, id="the window is made smaller"),
    ],
)
@pytest.mark.parametrize("kind", ["framing", "overlay", "annotate"])
def test_a_size_that_changes_within_a_film_is_fitted(
    tmp_path: Path, kind: str, then: Video, expected_picture: tuple[int, ...], side: int
) -> None:
    source, output = write_joined(tmp_path, WIDE, then), tmp_path / "output.mp4"
    fields: dict[str, dict[str, Any]] = {
        "framing": {"keyframes": STILL},
        "overlay": {},
        "annotate": {"clips": [{"start_time": 0, "end_time": 2, "name": "a"}], "show_labels": False},
    }
    run_to_end(
        run(attempt_spec(source, output, kind=kind, quality="high", **fields[kind]), tmp_path / "scratch")
    )
    shown = [luma for _, luma in read_lumas(output)]
    assert len(shown) == 60
    assert find_square(shown[20]) == pytest.approx((130, 60, 60, 60), abs=3)
    assert find_picture(shown[45]) == pytest.approx(expected_picture, abs=3)
    assert find_square(shown[45])[2:] == pytest.approx((side, side), abs=3)


def test_pixels_that_change_their_shape_within_a_film_are_fitted(tmp_path: Path) -> None:
    output_path, _, _ = export(write_joined(tmp_path, WIDE, STRETCHED), quality="high")
    shown = [luma for _, luma in read_lumas(output_path)]
    assert find_picture(shown[20]) == (0, 0, 320, 180)
    assert find_picture(shown[50]) == pytest.approx((0, 22, 320, 136), abs=3)
    left, _, width, height = find_square(shown[50])
    assert (left, width, height) == pytest.approx((130, 60, 45), abs=3)


def test_a_size_that_changes_within_a_film_of_odd_sides_is_fitted_to_the_pixel() -> None:
    converter = FrameConverter(321, 181, Fraction(1, 30), BLUE)
    fitted: list[av.VideoFrame] = []
    for number, (width, height) in enumerate([(321, 181), (160, 90), (90, 160)]):
        white = np.full((height, width, 3), 255, np.uint8)
        frame = av.VideoFrame.from_ndarray(white, "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        fitted += converter.push(frame)
    fitted += converter.flush()
    assert [(frame.width, frame.height) for frame in fitted] == [(321, 181)] * 3


def test_a_trim_behind_the_change_keeps_the_films_size(tmp_path: Path) -> None:
    source = write_joined(tmp_path, WIDE, TALL)
    output_path, output, _ = export(source, trim={"start": 1.4, "end": 1.9}, quality="high", background=BLUE)
    assert (output.width, output.height) == (320, 180)
    assert tuple(read_rgb(output_path)[90, 10]) == pytest.approx((0x20, 0x60, 0xC0), abs=5)


def test_in_chunks_bars_are_the_same_to_the_bit(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", replace(WIDE, times=frame_times(5.0)))
    keyframes = [
        {"time": 0, "x": 100, "y": 30, "width": 120, "height": 120},
        {"time": 4, "x": -100, "y": -170, "width": 520, "height": 520},
    ]
    films = [
        DecodedVideo.of(
            export_split(source, count, keyframes=keyframes, output_width=160, background=BLUE)[0]
        )
        for count in (1, 2)
    ]
    assert all(
        (frame == other).all() for frame, other in zip(films[0].pictures, films[1].pictures, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("title.mov", "qtrle", "argb", {}),
        ("title.mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
        ("title.mov", "png", "rgba", {}),
        ("title.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0", "deadline": "realtime"}),
        ("title.webm", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0", "deadline": "realtime"}),
        ("title.mkv", "ffv1", "yuva444p", {}),
    ],
    ids=["QuickTime Animation", "ProRes 4444", "PNG", "VP8", "VP9", "FFV1"],
)
@pytest.mark.parametrize("background", ["black", BLUE])
def test_what_is_transparent_shows_the_background(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str], background: str
) -> None:
    image = np.zeros((180, 320, 4), np.uint8)
    image[:] = (255, 0, 255, 255)  # magenta, also below the transparent part
    image[:, 160:, 3] = 0
    with av.open(str(tmp_path / name), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=30, options=options))
        stream.width, stream.height, stream.pix_fmt = 320, 180, pixels
        frame = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=pixels)
        for number in range(30):
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    output_path, _, _ = export(tmp_path / name, background=background, trim={"start": 0.2, "end": 0.9})
    colors = read_rgb(output_path)
    expected = (0, 0, 0) if background == "black" else (0x20, 0x60, 0xC0)
    assert tuple(colors[90, 80]) == pytest.approx((255, 0, 255), abs=12)
    assert tuple(colors[90, 240]) == pytest.approx(expected, abs=8)
