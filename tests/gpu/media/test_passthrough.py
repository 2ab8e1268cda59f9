"""An overlay with nothing to draw is copied if the source fits an output, else encoded."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gpu.pipeline import run
from gpu.spec import RemoteObject, Transfer
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from tests.gpu.chunks.chunk_comparison import export_split
from tests.gpu.export_types.overlay_frames import HEIGHT, WIDTH, export_overlay, region
from tests.gpu.media.output_checks import find_violations
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.support.s3_server import run_s3_server
from tests.support.videos import SOUND_RATE, Video, clicks, dot, frame_times, read_samples, write_video

STEREO = np.tile(clicks(1.0, 0.3), (2, 1))
READY = Video(lambda time: dot(40 + 100 * time, 90), frame_times(1.0), tone=STEREO, layout="stereo")
SERIAL = b"1581F4X"
TAGS = (("make", "DJI"), ("com.android.model", "22071212AG"), ("artist", "A Filmer"), ("comment", "1581F4X"),
        ("location", "+48.1+016.4/"), ("creation_time", "2024-05-01T10:11:12Z"))  # fmt: skip
USE_TAGS = (("movflags", "use_metadata_tags"),)


def read_frames(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([cast(NDArray[np.uint8], frame.to_ndarray()) for frame in container.decode(video=0)])


def add_serial_number(source: Path) -> Path:
    """Copy a video with a manufacturer's message in each keyframe and a second audio track."""
    path = source.with_name("camera.mp4")
    message = "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+" + SERIAL.decode()
    options = {"movflags": "use_metadata_tags"}
    with av.open(str(source)) as old, av.open(str(path), "w", options=options) as new:
        new.metadata.update(dict(TAGS))
        tracks = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        tracks.append(new.add_stream_from_template(old.streams[1], opaque=True))
        tracks[0].metadata["handler_name"] = "FC3582"
        inserting = BitStreamFilterContext(message, old.streams.video[0], cast(VideoStream, tracks[0]))
        for packet in old.demux():
            if packet.dts is None:
                continue
            for track in tracks[1:] if packet.stream.index == 1 else tracks[:1]:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.is_keyframe = packet.is_keyframe
                for changed in inserting.filter(copy) if packet.stream.index == 0 else [copy]:
                    changed.time_base, changed.stream = packet.time_base, track
                    new.mux(changed)
    return path


def test_a_source_that_is_an_output_already_is_not_encoded_again(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", READY)
    output_path = export_overlay(source, highlight_regions=[region(enabled=False)])

    assert (read_frames(output_path) == read_frames(source)).all()
    assert (read_samples(output_path) == read_samples(source)).all()
    assert find_violations(output_path) == []


def test_a_copy_tells_nothing_of_the_camera_and_its_owner(tmp_path: Path) -> None:
    source = add_serial_number(write_video(tmp_path / "source.mp4", READY))
    assert SERIAL in source.read_bytes()
    assert len(av.open(str(source)).streams) == 3
    output_path = export_overlay(source)

    assert (read_frames(output_path) == read_frames(source)).all()
    assert find_violations(output_path) == []
    for text in (*(value for _, value in TAGS), "FC3582", "x264"):
        assert text.encode() not in output_path.read_bytes()


@pytest.mark.parametrize(
    "video",
    [
        pytest.param(replace(READY, display_rotation=90), id="turned"),
        pytest.param(replace(READY, mirrored=True), id="mirrored"),
        pytest.param(replace(READY, pixel_format="yuv444p"), id="4:4:4"),
        pytest.param(replace(READY, pixel_format="yuv420p10le"), id="10 bits"),
        pytest.param(replace(READY, colors=(1, 1, 1, 2)), id="full range"),
        pytest.param(replace(READY, colors=(2, 2, 2, 0)), id="without colour tags"),
        pytest.param(replace(READY, colors=(6, 6, 6, 1)), id="the colours of NTSC"),
        pytest.param(replace(READY, colors=(9, 16, 9, 1)), id="PQ"),
        pytest.param(replace(READY, aspect=Fraction(4, 3)), id="wide pixels"),
        pytest.param(replace(READY, options=(("flags", "+ildct+ilme"), ("x264-params", "tff=1"))), id="interlaced"),
        pytest.param(replace(READY, codec="libx265", options=(("x265-params", "log-level=none"),)), id="HEVC"),
        pytest.param(replace(READY, codec="mpeg4", options=()), id="MPEG-4"),
        pytest.param(replace(READY, sound_codec="ac3"), id="AC-3"),
        pytest.param(replace(READY, tone=clicks(1.0, 0.3), layout="mono"), id="mono"),
        pytest.param(replace(READY, tone=STEREO[:, : SOUND_RATE // 2], sound_rate=24_000), id="24 kHz"),
        pytest.param(replace(READY, start=0.5), id="a picture that begins late"),
        pytest.param(replace(READY, tone=None), id="no sound"),
    ],
)  # fmt: skip
def test_every_promise_holds_of_an_overlay_with_nothing_to_draw(tmp_path: Path, video: Video) -> None:
    source = write_video(tmp_path / "source.mp4", replace(video, metadata=TAGS, container_options=USE_TAGS))
    output_path = export_overlay(source)

    assert find_violations(output_path, sound=video.tone is not None) == []
    assert all(value.encode() not in output_path.read_bytes() for _, value in TAGS)


@pytest.mark.parametrize("name", ["source.mkv", "source.mov", "source.ts"])
def test_every_promise_holds_of_other_containers(tmp_path: Path, name: str) -> None:
    assert find_violations(export_overlay(write_video(tmp_path / name, READY))) == []


def test_hevc_is_copied_only_where_it_was_asked_for(tmp_path: Path) -> None:
    hevc = replace(READY, codec="libx265", options=(("x265-params", "log-level=none"),))
    source = write_video(tmp_path / "source.mp4", hevc)

    output_path = export_overlay(source, codec="hevc")
    assert (read_frames(output_path) == read_frames(source)).all()
    assert find_violations(output_path, codec="hevc") == []
    assert b"hvc1" in output_path.read_bytes()
    assert find_violations(export_overlay(source, codec="h264")) == []


def _encoder(colors: tuple[int, int, int, int]) -> VideoCodecContext:
    """Return an encoder that writes its headers inside the stream."""
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 15_360), Fraction(30)
    context.color_primaries, context.color_trc, context.colorspace, context.color_range = colors
    context.options = {"preset": "ultrafast", "bf": "0"}
    return context


def test_a_film_whose_pictures_change_on_the_way_is_encoded(tmp_path: Path) -> None:
    path = tmp_path / "source.mp4"
    before = write_video(tmp_path / "plain.mp4", replace(READY, tone=None, options=(("bf", "0"),)))
    with av.open(str(before)) as old, av.open(str(path), "w") as new:
        track = new.add_stream_from_template(old.streams[0], opaque=True)
        packets = [packet for packet in old.demux() if packet.dts is not None]
        full = _encoder((1, 1, 1, 2))
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8), "yuv420p")
            frame.pts, frame.time_base = (30 + number) * 512, Fraction(1, 15_360)
            packets += full.encode(frame)
        packets += full.encode(None)
        for number, packet in enumerate(packets):
            packet.time_base = Fraction(1, 15_360)
            packet.pts = packet.dts = number * 512
            packet.duration = 512
            packet.stream = track
            new.mux(packet)
    output_path = export_overlay(path)

    assert len(read_frames(output_path)) == 60
    assert find_violations(output_path, sound=False) == []


def _keep(source: Path) -> Path:
    return source


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        pytest.param({"include_audio": False}, False, id="its sound isn't wanted"),
        pytest.param({"fps": 15}, True, id="another rate is wanted"),
    ],
)
@pytest.mark.parametrize("prepare", [_keep, add_serial_number], ids=["plain", "with more streams"])
def test_requested_changes_are_made(
    tmp_path: Path, fields: dict[str, Any], sound: bool, prepare: Callable[[Path], Path]
) -> None:
    output_path = export_overlay(prepare(write_video(tmp_path / "source.mp4", READY)), **fields)

    assert find_violations(output_path, sound=sound) == []
    assert len(read_frames(output_path)) == fields.get("fps", 30)


def test_in_chunks_an_overlay_with_nothing_to_draw_is_encoded_alike(tmp_path: Path) -> None:
    long = replace(READY, times=frame_times(5.0), tone=None, colors=(2, 2, 2, 0))
    source = write_video(tmp_path / "source.mp4", long)
    whole, split = (read_frames(export_split(source, count, kind="overlay")[0]) for count in (1, 2))

    assert (split == whole).all()


def test_a_remote_object_is_copied_too(tmp_path: Path) -> None:
    source, output = write_video(tmp_path / "source.mp4", READY), tmp_path / "output.mp4"

    with run_s3_server() as s3_server:
        bucket = Bucket(s3_server.client_config())

        async def upload_source() -> str:
            await bucket.create()
            await bucket.call("put_object", Key="ann/source", Body=source.read_bytes())
            url = (await S3Storage(bucket).sign_read_url("ann", "source", expires_seconds=600)).url
            await bucket.close()
            return url

        spec = attempt_spec(source, output, kind="overlay")
        sources = {"source": RemoteObject(url=asyncio.run(upload_source()))}
        transfer = Transfer(sources=sources, output=spec.transfer.output)
        _, result = run_to_end(run(spec.model_copy(update={"transfer": transfer}), tmp_path / "scratch"))

    assert (read_frames(output) == read_frames(source)).all()
    assert result.size == output.stat().st_size
    assert not (tmp_path / "scratch").exists()
