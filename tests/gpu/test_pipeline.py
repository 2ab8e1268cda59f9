"""What every export type guarantees: phases, progress, the file, and nothing left behind."""

import gc
import hashlib
from pathlib import Path

import av
import pytest

from callbacks.envelope import Phase
from gpu.errors import ExportError
from gpu.pipeline import run
from tests.gpu.run_pipeline import STILL, attempt_spec, export
from tests.support.videos import Video, clicks, dot, frame_times, write_video


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two seconds with sound, from a phone that knows where it is."""
    where = (("location", "+52.5200+013.4050/"), ("com.apple.quicktime.location.ISO6709", "+52.5+013.4/"))
    video = Video(draw=lambda _: dot(160, 90), times=frame_times(2), tone=clicks(2, 1.0), metadata=where)
    return write_video(tmp_path / "source.mov", video)


def test_an_export_goes_through_its_phases_and_never_back(source: Path) -> None:
    _, _, ticks = export(source)
    phases = list(dict.fromkeys(tick.phase for tick in ticks))
    assert phases == [Phase.STARTING, Phase.DOWNLOADING, Phase.PROCESSING, Phase.UPLOADING]
    progress = [tick.progress for tick in ticks]
    assert progress == sorted(progress)
    assert 0 <= progress[0] <= progress[-1] < 100


def test_the_timeline_names_the_encoder_and_why(source: Path) -> None:
    _, _, ticks = export(source)
    said = {tick.message for tick in ticks if tick.phase is Phase.PROCESSING}
    assert len(said) == 1
    assert "nvenc" in said.copy().pop() or said == {"Encoding with libx264 (no NVENC device)"}


def test_the_output_is_told_as_it_lies_there(source: Path) -> None:
    written, output, _ = export(source)
    content = written.read_bytes()
    assert (output.size, output.checksum) == (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")


def test_the_index_comes_before_the_pictures(source: Path) -> None:
    written, _, _ = export(source)
    content = written.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_colours_are_tagged_bt709_and_limited(source: Path) -> None:
    written, _, _ = export(source)
    with av.open(str(written)) as container:
        video = container.streams.video[0]
        tags = (video.color_primaries, video.color_trc, video.colorspace, video.color_range)
        assert (video.pix_fmt, *tags) == ("yuv420p", 1, 1, 1, 1)
    assert b"colrnclx" in written.read_bytes()


@pytest.mark.parametrize(("codec", "tag"), [("h264", "avc1"), ("hevc", "hvc1"), ("av1", "av01")])
def test_each_codec_can_be_asked_for(source: Path, codec: str, tag: str) -> None:
    written, output, _ = export(source, codec=codec)
    with av.open(str(written)) as container:
        assert container.streams.video[0].codec_context.codec_tag == tag
        assert container.streams.audio[0].codec_context.name.startswith("aac")
    assert output.duration == pytest.approx(2.0, abs=1 / 30)


def test_nothing_tells_where_the_film_was_made(source: Path) -> None:
    written, _, _ = export(source)
    content = written.read_bytes()
    assert b"+52.5" in source.read_bytes()
    assert b"+52.5" not in content
    assert b"ISO6709" not in content


def test_sound_can_be_left_out(source: Path) -> None:
    written, _, _ = export(source, include_audio=False)
    with av.open(str(written)) as container:
        assert not container.streams.audio


def test_nothing_is_left_behind(source: Path, tmp_path: Path) -> None:
    export(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output.mp4", "source.mov"]


def test_a_closed_generator_leaves_nothing(source: Path, tmp_path: Path) -> None:
    working = run(attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL), tmp_path / "scratch")
    while next(working).phase is not Phase.PROCESSING:
        pass
    working.close()
    assert [path.name for path in tmp_path.iterdir()] == ["source.mov"]


def test_an_earlier_output_stands_until_the_new_one_is_whole(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "output.mp4"
    output.write_bytes(b"before")
    working = run(attempt_spec(source, output, keyframes=STILL), tmp_path / "scratch")
    while next(working).phase is not Phase.UPLOADING:
        assert output.read_bytes() == b"before"
    working.close()
    assert output.read_bytes() == b"before"
    assert not output.with_name("output.mp4.part").exists()


def test_frames_are_let_go_of_at_once(source: Path) -> None:
    gc.collect()
    gc.disable()
    try:
        export(source)
        held = sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())
    finally:
        gc.enable()
    assert held < 10


def test_a_failed_export_leaves_nothing(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes()[:2_000])
    with pytest.raises(ExportError):
        export(source)
    assert [path.name for path in tmp_path.iterdir()] == ["source.mov"]
