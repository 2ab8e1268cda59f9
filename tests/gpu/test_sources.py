"""What people really upload: phones, cameras, browsers, and files that are broken or mean harm."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gpu.errors import ExportError
from gpu.source import probe
from tests.gpu.exports import STILL, export
from tests.gpu.videos import (
    SOUND_RATE,
    Video,
    centre,
    click_times,
    clicks,
    dot,
    flash,
    lumas,
    make,
    samples,
    steady,
)

BEAT = Video(draw=flash(1.0), times=steady(2), tone=clicks(2, 1.0))
DOT = Video(draw=lambda _: dot(250, 40), times=steady(0.4))


def flashes(path: Path) -> float:
    """When the picture turns white."""
    return next(time for time, luma in lumas(path) if luma.mean() > 128)


def whole(path: Path) -> list[dict[str, float]]:
    """A crop of all that the source shows."""
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
    source = make(tmp_path / name, video)
    origin = probe(str(source)).origin
    made, output, _ = export(source)
    assert output.duration == pytest.approx(2.0, abs=0.04)
    assert flashes(made) == pytest.approx(flashes(source) - origin, abs=1 / 30)
    assert click_times(made) == pytest.approx([1.0], abs=1 / 30)


@pytest.mark.parametrize("name", ["late.mkv", "late.ts"])
@pytest.mark.parametrize("trim", [None, {"start": 0.5, "end": 1.5}], ids=["whole", "trimmed"])
def test_time_begins_where_the_source_does(tmp_path: Path, name: str, trim: dict[str, float] | None) -> None:
    source = make(tmp_path / name, replace(BEAT, start=7.25))
    made, _, _ = export(source, **({"trim": trim} if trim else {}))
    at = 1.0 - (trim["start"] if trim else 0)
    assert flashes(made) == pytest.approx(at, abs=1.5 / 30)
    assert click_times(made)[0] == pytest.approx(flashes(made), abs=1 / 30)


@pytest.mark.parametrize("name", ["source.mp4", "source.mkv"], ids=["by its header", "by its frames alone"])
def test_variable_frame_times_are_kept(tmp_path: Path, name: str) -> None:
    times = (0.0, 0.03, 0.1, 0.11, 0.4, 0.45, 0.8, 0.81, 0.9, 1.0, 1.1, 1.11, 1.3, 1.4, 1.43, 1.7, 1.8)
    source = make(tmp_path / name, replace(DOT, times=times))
    made, output, _ = export(source)
    assert [time for time, _ in lumas(made)] == pytest.approx(times, abs=1e-3)
    assert output.duration == pytest.approx(probe(str(source)).duration, abs=1e-3)


def test_variable_frame_times_become_steady_when_asked(tmp_path: Path) -> None:
    times = (0.0, 0.03, 0.1, 0.11, 0.4, 0.45, 0.8, 0.96)
    made, _, _ = export(make(tmp_path / "source.mp4", replace(DOT, times=times)), fps=20)
    shown = [time for time, _ in lumas(made)]
    assert shown == pytest.approx(steady(len(shown) / 20, 20))


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
    source = make(tmp_path / "phone.mp4", replace(DOT, display_rotation=degrees, mirrored=mirrored))
    made, output, _ = export(source, keyframes=whole(source))
    assert (output.width, output.height) == size
    assert centre(lumas(made)[0][1]) == pytest.approx(place, abs=1)


@pytest.mark.parametrize("rotation", [10, -25, 90])
def test_rotation_turns_clockwise_about_the_centre(tmp_path: Path, rotation: float) -> None:
    source = make(tmp_path / "source.mp4", replace(DOT, draw=lambda _: dot(200, 70)))
    made, _, _ = export(source, rotation=rotation)
    angle = np.radians(rotation)
    across = 160 + 40 * np.cos(angle) + 20 * np.sin(angle)
    down = 90 + 40 * np.sin(angle) - 20 * np.cos(angle)
    assert centre(lumas(made)[0][1]) == pytest.approx((across, down), abs=1)


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    source = make(tmp_path / "wide.mp4", replace(DOT, aspect=Fraction(4, 3)))
    made, output, _ = export(source, keyframes=whole(source))
    assert (output.width, output.height) == (428, 180)
    assert centre(lumas(made)[0][1]) == pytest.approx((250 * 428 / 320, 40), abs=1)


def test_odd_dimensions(tmp_path: Path) -> None:
    video = replace(DOT, draw=lambda _: dot(250, 40, width=321, height=181), codec="ffv1", options=())
    source = make(tmp_path / "odd.mkv", video)
    made, output, _ = export(source, keyframes=whole(source))
    assert (output.width, output.height) == (320, 180)
    assert centre(lumas(made)[0][1]) == pytest.approx((250 * 320 / 321, 40 * 180 / 181), abs=1)


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p", "bgr0", "yuv422p10le"])
def test_any_pixel_format_shows_the_same_picture(tmp_path: Path, pixels: str) -> None:
    tags = (1, 1, 0, 2) if pixels == "bgr0" else (1, 1, 1, 1)
    video = replace(DOT, codec="ffv1", options=(), pixel_format=pixels, colors=tags)
    made, _, _ = export(make(tmp_path / "source.mkv", video))
    luma = lumas(made)[0][1]
    assert centre(luma) == pytest.approx((250, 40), abs=1)
    assert (int(luma.min()), int(luma.max())) == pytest.approx((16, 235), abs=6)


def test_colours_of_standard_definition_are_converted(tmp_path: Path) -> None:
    made, _, _ = export(tinted(tmp_path / "sd.mkv", (120, 90, 200), (6, 6, 6, 1)))
    assert tint(made) == pytest.approx((108, 98, 199), abs=3)


def test_high_dynamic_range_becomes_bt709(tmp_path: Path) -> None:
    made, _, _ = export(tinted(tmp_path / "hlg.mkv", (120, 128, 128), (9, 18, 9, 1), "yuv420p10le"))
    luma, blue, red = tint(made)
    assert 100 < luma < 200
    assert (blue, red) == pytest.approx((128, 128), abs=3)


def tinted(
    path: Path, color: tuple[int, int, int], tags: tuple[int, int, int, int], pixels: str = "yuv420p"
) -> Path:
    """Ten lossless frames of one colour (8-bit Y, U, V)."""
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


def tint(path: Path) -> tuple[int, int, int]:
    """The colour in the middle of the first frame."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        y, u, v = (
            bytes(plane)[plane.line_size * plane.height // 2 + plane.width // 2] for plane in frame.planes
        )
        return y, u, v


def test_interlaced_pictures_lose_their_combs(tmp_path: Path) -> None:
    def fields(time: float) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        woven = dot(100 + 600 * time, 90, radius=20)
        woven[1::2] = dot(112 + 600 * time, 90, radius=20)[1::2]
        return woven

    options = (("preset", "ultrafast"), ("crf", "10"), ("x264-params", "interlaced=1:tff=1"))
    source = make(tmp_path / "camera.mp4", replace(DOT, draw=fields, options=options))
    made, _, _ = export(source)
    shown = lumas(made)
    assert len(shown) == 12
    lines = shown[5][1].astype(np.int16)
    assert np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) // 2).max() < 25


@pytest.mark.parametrize(
    ("layout", "channels", "rate"),
    [("mono", 1, 44_100), ("stereo", 2, 48_000), ("5.1", 6, 48_000), ("mono", 1, 8_000)],
)
def test_any_sound_becomes_stereo_in_step(tmp_path: Path, layout: str, channels: int, rate: int) -> None:
    tone = np.tile(clicks(2, 1.0, rate=rate), (channels, 1))
    video = replace(BEAT, tone=tone, layout=layout, sound_rate=rate)
    made, _, _ = export(make(tmp_path / "source.mp4", video))
    heard = samples(made)
    assert heard.shape[0] == 2
    assert click_times(made) == pytest.approx([1.0], abs=0.005)
    assert np.abs(heard).max() == pytest.approx(0.8, abs=0.12)


def test_no_sound_is_no_fault(tmp_path: Path) -> None:
    made, _, _ = export(make(tmp_path / "silent.mp4", DOT))
    with av.open(str(made)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize("seconds", [1.2, 2.7], ids=["short", "long"])
def test_sound_of_another_length_is_fitted_to_the_picture(tmp_path: Path, seconds: float) -> None:
    made, output, _ = export(make(tmp_path / "source.mp4", replace(BEAT, tone=clicks(seconds, 1.0))))
    assert output.duration == pytest.approx(2.0, abs=1 / 30)
    assert samples(made).shape[1] / SOUND_RATE == pytest.approx(2.0, abs=0.03)


def test_an_unfinished_recording_has_its_length_counted(tmp_path: Path) -> None:
    live = replace(
        BEAT, codec="libvpx", options=(), sound_codec="libopus", container_options=(("live", "1"),)
    )
    source = make(tmp_path / "live.webm", live)
    with av.open(str(source)) as container:
        assert container.duration is None
    made, output, _ = export(source)
    assert output.duration == pytest.approx(2.0, abs=0.04)
    assert flashes(made) == pytest.approx(1.0, abs=1 / 30)


def refused(path: Path) -> ExportError:
    """How an export of this file fails."""
    with pytest.raises(ExportError) as caught:
        export(path, keyframes=STILL)
    assert str(path.parent) not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "source_unreadable"),
        (bytes(range(256)) * 64, "source_unreadable"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
            "source_unreadable",
        ),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "source_unreadable"),
    ],
    ids=["empty", "garbage", "a playlist", "a list of files"],
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "upload.mp4"
    path.write_bytes(content)
    assert refused(path).code == code


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere.mp4").code == "source_missing"


@pytest.mark.parametrize("name", ["upload.mp4", "upload.mkv"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_half_a_video_is_refused(tmp_path: Path, name: str, share: float) -> None:
    options = (("movflags", "+faststart"),) if name.endswith("mp4") else ()
    video = Video(draw=lambda time: dot(60 + 20 * time, 90), times=steady(6), container_options=options)
    path = make(tmp_path / name, video)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refused(path).code in {"source_truncated", "source_unreadable", "decode_failed"}


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(clicks(1, 0.5)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        stream.codec_context.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refused(path).code == "no_video_stream"


def test_an_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = make(tmp_path / "bomb.mkv", replace(DOT, codec="ffv1", options=()))
    content = path.read_bytes()
    # Matroska's PixelWidth (B0) and PixelHeight (BA), two bytes each.
    path.write_bytes(
        content.replace(b"\xb0\x82\x01\x40", b"\xb0\x82\xff\xff").replace(b"\xba\x81\xb4", b"\xba\x81\xff")
    )
    assert refused(path).code == "source_too_large"


def test_damage_in_the_middle_ends_in_a_picture_or_a_reason(tmp_path: Path) -> None:
    path = make(tmp_path / "scratched.mp4", Video(draw=lambda time: dot(60 + 20 * time, 90), times=steady(3)))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = b"\xff" * 60
    path.write_bytes(bytes(content))
    made, output, _ = export(path)
    assert output.duration == pytest.approx(3.0, abs=1 / 30)
    assert made.exists()
