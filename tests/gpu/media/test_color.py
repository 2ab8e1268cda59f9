"""Any bit depth, subsampling, matrix, range and interlacing: the output looks the same."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tests.gpu.export_types.overlay_frames import export_overlay
from tests.gpu.run_pipeline import export
from tests.support.videos import Video, dot, find_dot, frame_times, read_lumas, write_video

DOT = Video(draw=lambda _: dot(250, 40), times=frame_times(0.4))


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "bgr0", "yuv422p10le"])
def test_any_pixel_format_shows_the_same_picture(tmp_path: Path, pixels: str) -> None:
    tags = (1, 1, 0, 2) if pixels == "bgr0" else (1, 1, 1, 1)
    video = replace(DOT, codec="ffv1", options=(), pixel_format=pixels, colors=tags)
    output_path, _, _ = export(write_video(tmp_path / "source.mkv", video))
    luma = read_lumas(output_path)[0][1]
    assert find_dot(luma) == pytest.approx((250, 40), abs=1)
    assert (int(luma.min()), int(luma.max())) == pytest.approx((16, 235), abs=6)


def test_ten_bit_hevc_of_a_phone(tmp_path: Path) -> None:
    options = (("preset", "ultrafast"), ("crf", "12"), ("x265-params", "log-level=none"))
    video = replace(DOT, codec="libx265", options=options, pixel_format="yuv420p10le")
    source = write_video(tmp_path / "phone.mov", video)
    with av.open(str(source)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
    output_path, _, _ = export(source)
    frames = read_lumas(output_path)
    assert len(frames) == 12
    assert find_dot(frames[6][1]) == pytest.approx((250, 40), abs=1)
    assert (int(frames[6][1].min()), int(frames[6][1].max())) == pytest.approx((16, 235), abs=6)


def test_colours_of_standard_definition_are_converted(tmp_path: Path) -> None:
    output_path, _, _ = export(write_uniform(tmp_path / "sd.mkv", (120, 90, 200), (6, 6, 6, 1)))
    assert read_color(output_path) == pytest.approx((108, 98, 199), abs=3)


def test_what_is_drawn_on_has_its_colours_converted_as_well(tmp_path: Path) -> None:
    """No scaling filter follows that would convert the colours by default."""
    source = write_uniform(tmp_path / "sd.mkv", (120, 90, 200), (6, 6, 6, 1))
    output_path = export_overlay(
        source, text_layers=[{"text": "H", "start_time": 0, "end_time": 1, "x": 8, "y": 8}]
    )
    assert read_color(output_path) == pytest.approx((108, 98, 199), abs=3)


def test_high_dynamic_range_becomes_bt709(tmp_path: Path) -> None:
    output_path, _, _ = export(
        write_uniform(tmp_path / "hlg.mkv", (120, 128, 128), (9, 18, 9, 1), "yuv420p10le")
    )
    luma, blue, red = read_color(output_path)
    assert 100 < luma < 200
    assert (blue, red) == pytest.approx((128, 128), abs=3)


def write_uniform(
    path: Path, color: tuple[int, int, int], tags: tuple[int, int, int, int], pixels: str = "yuv420p"
) -> Path:
    """Write ten lossless frames of one colour (8-bit Y, U, V)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 180, pixels
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
        frame = av.VideoFrame(320, 180, "yuv420p")
        for plane, value in zip(frame.planes, color, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        frame = frame.reformat(format=pixels)
        for number in range(10):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_color(path: Path) -> tuple[int, int, int]:
    """Return the colour in the middle of the first frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        y, u, v = (
            bytes(plane)[plane.line_size * plane.height // 2 + plane.width // 2] for plane in frame.planes
        )
        return y, u, v


def test_interlaced_pictures_lose_their_combs(tmp_path: Path) -> None:
    def fields(time: float) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        interlaced = dot(100 + 600 * time, 90, radius=20)
        interlaced[1::2] = dot(112 + 600 * time, 90, radius=20)[1::2]
        return interlaced

    options = (("preset", "ultrafast"), ("crf", "10"), ("x264-params", "interlaced=1:tff=1"))
    source = write_video(tmp_path / "camera.mp4", replace(DOT, draw=fields, options=options))
    output_path, _, _ = export(source)
    frames = read_lumas(output_path)
    assert len(frames) == 12
    lines = frames[5][1].astype(np.int16)
    assert np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) // 2).max() < 25
