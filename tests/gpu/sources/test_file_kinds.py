"""Raw streams and animated images are read; unsupported kinds are not called damaged."""

from fractions import Fraction
from pathlib import Path

import pytest

from gpu.sources.file_kinds import SUPPORTED
from tests.gpu.media.numbered_frames import RATE, WHOLE, draw_bar, read_numbers
from tests.gpu.run_pipeline import export
from tests.gpu.sources.test_rejected_sources import expect_error
from tests.support.videos import Video, frame_times, write_video

SECONDS = 2.0
FRAMES = round(SECONDS * RATE)
KINDS: dict[str, tuple[str, str]] = {
    "bare.hevc": ("libx265", "yuv420p"),
    "bare.m4v": ("mpeg4", "yuv420p"),
    "bare.m2v": ("mpeg2video", "yuv420p"),
    "raw.y4m": ("rawvideo", "yuv420p"),
    "moving.gif": ("gif", "gray"),
    "moving.apng": ("apng", "gray"),
}


def write_moving(path: Path) -> Path:
    codec, pixel_format = KINDS[path.name]
    options = (("x265-params", "log-level=none"),) if codec == "libx265" else ()
    video = Video(
        draw_bar, frame_times(SECONDS, RATE), codec=codec, pixel_format=pixel_format, options=options,
        time_base=Fraction(1, RATE), rate=Fraction(RATE),
    )  # fmt: skip
    return write_video(path, video)


@pytest.mark.parametrize("name", KINDS)
def test_bare_streams_and_moving_images_are_read(tmp_path: Path, name: str) -> None:
    output, done, _ = export(write_moving(tmp_path / name), keyframes=WHOLE)
    assert read_numbers(output) == list(range(FRAMES))
    assert done.duration == pytest.approx(SECONDS, abs=0.5 / RATE)


@pytest.mark.parametrize("name", KINDS)
def test_a_trim_of_them_begins_where_it_should(tmp_path: Path, name: str) -> None:
    output, _, _ = export(write_moving(tmp_path / name), keyframes=WHOLE, trim={"start": 0.8, "end": 1.6})
    assert read_numbers(output) == list(range(20, 40))


def test_a_recording_that_begins_long_before_its_first_keyframe_is_read(tmp_path: Path) -> None:
    options = (
        ("preset", "veryfast"),
        ("g", "240"),
        ("keyint_min", "240"),
        ("sc_threshold", "0"),
        ("crf", "18"),
    )
    seconds = 230 / RATE
    film = Video(
        lambda time: draw_bar(time % 8), frame_times(10.4, RATE), options=options, start=1.0, rate=Fraction(RATE),
        time_base=Fraction(1, RATE),
    )  # fmt: skip
    source = write_video(tmp_path / "source.ts", film)
    content = source.read_bytes()
    first = content.index(b"\x47", 188 * 40)
    source.write_bytes(content[first - first % 188 :])
    output, done, _ = export(source, keyframes=WHOLE)
    assert read_numbers(output)[-20:] == list(range(40, 60))
    assert done.duration == pytest.approx(seconds, abs=2.0)


@pytest.mark.parametrize(("name", "codec"), [("bare.h264", "libx264"), ("bare.hevc", "libx265")])
def test_a_bare_stream_that_begins_inside_a_group_is_as_long_as_what_can_be_decoded(
    tmp_path: Path, name: str, codec: str
) -> None:
    parameters = "keyint=100:min-keyint=100:scenecut=0:open-gop=0"
    options = (("preset", "ultrafast"), ("g", "100"), ("x264-params", parameters))
    if codec == "libx265":
        options = (("preset", "ultrafast"), ("g", "100"), ("x265-params", f"log-level=none:{parameters}"))
    film = Video(
        draw_bar,
        frame_times(4.0, 50),
        codec=codec,
        options=options,
        rate=Fraction(50),
        time_base=Fraction(1, 50),
    )
    source = write_video(tmp_path / name, film)
    content = source.read_bytes()
    source.write_bytes(content[content.index(b"\0\0\0\1", len(content) // 10) :])
    output, done, _ = export(source, keyframes=WHOLE)
    assert done.duration == pytest.approx(2.0, abs=0.05)
    assert sorted(set(read_numbers(output))) == list(range(50, 101))


UNSUPPORTED_FILES = {
    "a picture": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(200),
    "RealMedia": b".RMF\0\0\0\x12" + bytes(200),
    "a phone's picture": b"\0\0\0\x18ftypheic" + bytes(200),
    "an archive": b"PK\x03\x04" + bytes(200),
    "a document": b"%PDF-1.7\n" + bytes(200),
}


@pytest.mark.parametrize("kind", UNSUPPORTED_FILES)
def test_a_kind_that_is_not_read_is_not_called_damaged(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "upload.mp4"
    source.write_bytes(UNSUPPORTED_FILES[kind])
    error = expect_error(source)
    assert error.code == "source_unsupported"
    assert SUPPORTED in error.message
    assert "damaged" not in error.message


def test_noise_is_still_called_damaged(tmp_path: Path) -> None:
    source = tmp_path / "upload.mp4"
    source.write_bytes(bytes(range(256)) * 64)
    assert expect_error(source).code == "source_unreadable"
