"""Sources that can't be exported are rejected early, with a reason."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from gpu.errors import ExportError
from tests.gpu.run_pipeline import STILL, export
from tests.support.videos import Video, clicks, dot, frame_times, write_video

DOT = Video(draw=lambda _: dot(250, 40), times=frame_times(0.4))


def expect_error(path: Path) -> ExportError:
    """Export the file and return the error."""
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
    assert expect_error(path).code == code


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    assert expect_error(tmp_path / "nowhere.mp4").code == "source_missing"


@pytest.mark.parametrize("name", ["upload.mp4", "upload.mkv"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_half_a_video_is_refused(tmp_path: Path, name: str, share: float) -> None:
    options = (("movflags", "+faststart"),) if name.endswith("mp4") else ()
    video = Video(draw=lambda time: dot(60 + 20 * time, 90), times=frame_times(6), container_options=options)
    path = write_video(tmp_path / name, video)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert expect_error(path).code in {"source_truncated", "source_unreadable", "decode_failed"}


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(clicks(1, 0.5)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = 48_000
        stream.codec_context.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert expect_error(path).code == "no_video_stream"


def test_an_absurd_size_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "bomb.mkv", replace(DOT, codec="ffv1", options=()))
    content = path.read_bytes()
    # Matroska's PixelWidth (B0) and PixelHeight (BA), two bytes each.
    path.write_bytes(
        content.replace(b"\xb0\x82\x01\x40", b"\xb0\x82\xff\xff").replace(b"\xba\x81\xb4", b"\xba\x81\xff")
    )
    assert expect_error(path).code == "source_too_large"


def test_damage_in_the_middle_ends_in_a_picture_or_a_reason(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "scratched.mp4", Video(draw=lambda time: dot(60 + 20 * time, 90), times=frame_times(3))
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = b"\xff" * 60
    path.write_bytes(bytes(content))
    output_path, output, _ = export(path)
    assert output.duration == pytest.approx(3.0, abs=1 / 30)
    assert output_path.exists()
