"""Which encoder is selected, and what happens if it fails."""

import os
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from callbacks.envelope import Phase
from gpu.config import Codec, Quality
from gpu.media import encoders, hwaccel
from gpu.media.encoders import Encoder
from gpu.pipeline import run
from tests.gpu.run_pipeline import STILL, attempt_spec, run_to_end
from tests.support.videos import Video, click_times, clicks, dot, frame_times, read_lumas, write_video

NVENC = {Codec.H264: "h264_nvenc", Codec.HEVC: "hevc_nvenc", Codec.AV1: "av1_nvenc"}
without_gpu = pytest.mark.skipif(hwaccel.has_cuda(), reason="this machine has a GPU that may encode")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four seconds with a click in the middle."""
    video = Video(draw=lambda _: dot(160, 90), times=frame_times(4), tone=clicks(4, 2.0))
    return write_video(tmp_path / "source.mp4", video)


def select_nvenc(codec: Codec, quality: Quality, _width: int, _height: int) -> Encoder:
    """Return the GPU's encoder without a check; without a GPU, FFmpeg fails during the export."""
    return encoders.nvenc_encoder(codec, quality)


@without_gpu
@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("chunks", [1, 2])
def test_an_encoder_that_fails_gives_way_to_software_and_the_timeline_says_so(
    source: Path, tmp_path: Path, codec: Codec, chunks: int
) -> None:
    fields: dict[str, Any] = {"keyframes": STILL, "codec": codec, "parallelism": chunks}
    output_path = tmp_path / "output.mp4"
    ticks, output = run_to_end(
        run(attempt_spec(source, output_path, **fields), tmp_path / "scratch", select_nvenc)
    )

    software = encoders.software_encoder(codec, Quality.DRAFT, "").name
    messages = [tick.message for tick in ticks if tick.phase is Phase.PROCESSING]
    # The timeline keeps the first message of a phase; chunks have begun before the first of them fails.
    assert messages[0 if chunks == 1 else -2].endswith(f"with {software} ({NVENC[codec]} failed)")
    assert [tick.progress for tick in ticks] == sorted(tick.progress for tick in ticks)
    assert output.duration == pytest.approx(4.0, abs=1 / 30)
    assert len(read_lumas(output_path)) == 120
    assert click_times(output_path) == pytest.approx([2.0], abs=0.005)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output.mp4", "source.mp4"]


@without_gpu
@pytest.mark.parametrize("codec", list(Codec))
def test_a_gpu_encoder_is_tried_with_the_settings_of_the_export_and_the_reason_is_kept(codec: Codec) -> None:
    encoder = encoders.nvenc_encoder(codec, Quality.HIGH)
    assert encoder.name == NVENC[codec]
    assert hwaccel.find_encoder_error(encoder.name, encoder.options, 1_920, 1_080)
    assert encoders.select_encoder(codec, Quality.HIGH, 1_920, 1_080).fallback_reason == "no NVENC device"


@pytest.mark.parametrize("quality", list(Quality))
@pytest.mark.parametrize("codec", list(Codec))
def test_every_setting_is_one_that_its_encoder_knows(codec: Codec, quality: Quality) -> None:
    """FFmpeg ignores unknown options silently, so the options are looked up."""
    for encoder in (encoders.nvenc_encoder(codec, quality), encoders.software_encoder(codec, quality, "")):
        supported = av.CodecContext.create(encoder.name, "w").supported_options
        known = {option.name: option for option in (*supported.generic, *supported.private)}
        for name, value in encoder.options.items():
            assert name in known, encoder.name
            choices = {choice.name for choice in known[name].choices}
            assert not choices or value in choices or value.isdecimal(), (encoder.name, name)


def test_only_x264_needs_options_to_be_reproducible() -> None:
    for codec in (Codec.HEVC, Codec.AV1):
        encoder = encoders.software_encoder(codec, Quality.HIGH, "")
        assert encoder.to_reproducible() == encoder
    x264 = encoders.software_encoder(Codec.H264, Quality.HIGH, "")
    usual = x264.options.get("x264-params", "")
    added = x264.to_reproducible().options.get("x264-params", "").removeprefix(usual).strip(":")
    assert added in {"", "asm=AVX2"}
    assert "asm" not in usual


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize(("quality", "lookahead"), [("draft", 0), ("standard", 20), ("high", 30)])
def test_x264_holds_no_more_frames_than_quality_and_cores_need(
    quality: str, lookahead: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 6.4 MB at 1080p. Every thread but the first holds one, and the thread of the lookahead four."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    encoder = encoders.software_encoder(Codec.H264, Quality(quality), "")
    context = cast(VideoCodecContext, av.CodecContext.create(encoder.name, "w"))
    context.width, context.height, context.pix_fmt, context.framerate = 64, 64, "yuv420p", Fraction(30)
    context.thread_count, context.thread_type = encoder.threads, "AUTO"
    context.options = dict(encoder.options)

    held = next(number for number in count() if context.encode(VideoFrame(64, 64, "yuv420p")))
    mini_gop = 4
    assert held == max(lookahead + 1, mini_gop) + encoder.threads - 1 + (4 if encoder.threads > 1 else 0)


def test_software_that_fails_is_not_tried_again(source: Path, tmp_path: Path) -> None:
    unusable = Encoder("libx264", {"preset": "none of these"}, None, "")
    with pytest.raises(Exception, match="could not be encoded") as caught:
        run_to_end(
            run(
                attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL),
                tmp_path / "scratch",
                lambda *_: unusable,
            )
        )
    assert getattr(caught.value, "code", None) == "encode_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]
