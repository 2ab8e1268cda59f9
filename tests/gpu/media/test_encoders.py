"""Which encoder is chosen, and what comes of one that fails."""

from pathlib import Path
from typing import Any

import av
import pytest

from callbacks.envelope import Phase
from gpu.config import Codec, Quality
from gpu.media import encoders, hwaccel
from gpu.media.encoders import Encoder
from gpu.pipeline import run
from tests.gpu.run_pipeline import STILL, attempt_spec, run_to_end
from tests.support.videos import Video, click_times, clicks, dot, frame_times, read_lumas, write_video

NVENC = {Codec.H264: "h264_nvenc", Codec.HEVC: "hevc_nvenc", Codec.AV1: "av1_nvenc"}
without_a_card = pytest.mark.skipif(hwaccel.has_cuda(), reason="a card is here, and may well encode")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four seconds with a click in the middle."""
    video = Video(draw=lambda _: dot(160, 90), times=frame_times(4), tone=clicks(4, 2.0))
    return write_video(tmp_path / "source.mp4", video)


def cards(codec: Codec, quality: Quality, _width: int, _height: int) -> Encoder:
    """As if the card had said yes: it is asked for the export itself, and fails as FFmpeg does without one."""
    return encoders.nvenc_encoder(codec, quality)


@without_a_card
@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("pieces", [1, 2])
def test_an_encoder_that_fails_gives_way_to_software_and_the_timeline_says_so(
    source: Path, tmp_path: Path, codec: Codec, pieces: int
) -> None:
    asked: dict[str, Any] = {"keyframes": STILL, "codec": codec, "parallelism": pieces}
    made = tmp_path / "output.mp4"
    ticks, output = run_to_end(run(attempt_spec(source, made, **asked), tmp_path / "scratch", cards))

    software = encoders.software_encoder(codec, Quality.DRAFT, "").name
    said = [tick.message for tick in ticks if tick.phase is Phase.PROCESSING]
    # The timeline keeps what a phase begins with; pieces have begun before the first of them fails.
    assert said[0 if pieces == 1 else -2].endswith(f"with {software} ({NVENC[codec]} failed)")
    assert [tick.progress for tick in ticks] == sorted(tick.progress for tick in ticks)
    assert output.duration == pytest.approx(4.0, abs=1 / 30)
    assert len(read_lumas(made)) == 120
    assert click_times(made) == pytest.approx([2.0], abs=0.005)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output.mp4", "source.mp4"]


@without_a_card
@pytest.mark.parametrize("codec", list(Codec))
def test_a_card_is_asked_with_the_very_settings_and_says_why_it_refuses(codec: Codec) -> None:
    encoder = encoders.nvenc_encoder(codec, Quality.HIGH)
    assert encoder.name == NVENC[codec]
    assert hwaccel.find_encoder_error(encoder.name, encoder.options, 1_920, 1_080)
    assert encoders.select_encoder(codec, Quality.HIGH, 1_920, 1_080).fallback_reason == "no NVENC device"


@pytest.mark.parametrize("quality", list(Quality))
@pytest.mark.parametrize("codec", list(Codec))
def test_every_setting_is_one_that_its_encoder_knows(codec: Codec, quality: Quality) -> None:
    """What FFmpeg doesn't know it passes over in silence, so the options are looked up."""
    for encoder in (encoders.nvenc_encoder(codec, quality), encoders.software_encoder(codec, quality, "")):
        supported = av.CodecContext.create(encoder.name, "w").supported_options
        known = {option.name: option for option in (*supported.generic, *supported.private)}
        for name, value in encoder.options.items():
            assert name in known, encoder.name
            choices = {choice.name for choice in known[name].choices}
            assert not choices or value in choices or value.isdecimal(), (encoder.name, name)


def test_software_that_fails_is_not_tried_again(source: Path, tmp_path: Path) -> None:
    nothing = Encoder("libx264", {"preset": "none of these"}, None, "")
    with pytest.raises(Exception, match="could not be encoded") as caught:
        run_to_end(
            run(
                attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL),
                tmp_path / "scratch",
                lambda *_: nothing,
            )
        )
    assert getattr(caught.value, "code", None) == "encode_failed"
    assert [path.name for path in tmp_path.iterdir()] == ["source.mp4"]
