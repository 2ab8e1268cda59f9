"""A chunk has the same frames as the same part of the whole export."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest

from gpu.export_types.planning import plan_export
from gpu.export_types.registry import find_export_type, parse_config
from gpu.media.encode import Render
from gpu.sources.source import Source, probe
from tests.support.videos import Luma, Video, frame_times, write_video

WIDTH, HEIGHT = 64, 48
REORDERED = (("preset", "veryfast"), ("bf", "3"), ("g", "25"), ("x264-params", "open-gop=1"))
BROADCAST = (("bf", "2"), ("g", "15"), ("b", "800k"))
UNEVEN = tuple(
    time + 0.012 * (number % 3) for number, time in enumerate(frame_times(4, 24)) if number % 7 != 5
)
STILL = [{"time": 0, "x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}]
SPEEDS = [{"start": 0.7, "end": 1.9, "speed": 8}, {"start": 1.9, "end": 2.5, "speed": 0.4}]
REGION = {
    "start_time": 1.0,
    "end_time": 3.0,
    "keyframes": [
        {"time": 1, "x": 10, "y": 10, "radiusX": 9, "radiusY": 9},
        {"time": 3, "x": 50, "y": 30, "radiusX": 9, "radiusY": 9},
    ],
}
CLIPS = [
    {"start_time": 0.5, "end_time": 2.0, "name": "one"},
    {"start_time": 2.2, "end_time": 3.9, "name": "two"},
    {"start_time": 1.0, "end_time": 2.1, "name": "three"},
]

Frame = tuple[int, int, float, str]


def pattern(time: float) -> Luma:
    """Draw a picture that is different at every time."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = 120 + 90 * np.sin(across / 5 + 9 * time) * np.cos(down / 7 - 4 * time)
    return cast(Luma, waves.astype(np.uint8))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Source]:
    """Four seconds each: at a steady 30 and 60 a second, with reordered frames; unevenly; with a late first frame."""
    folder = tmp_path_factory.mktemp("stretches")
    videos = {
        "steady": Video(pattern, frame_times(4), options=REORDERED),
        "fast": Video(pattern, frame_times(4, 60), rate=Fraction(60), options=REORDERED),
        "uneven": Video(pattern, UNEVEN, options=REORDERED),
        "transport": Video(pattern, frame_times(4), options=REORDERED, start=10.0),
        "old": Video(
            pattern,
            frame_times(4),
            time_base=Fraction(1, 30),
            codec="mpeg4",
            options=(("bf", "2"), ("g", "25")),
        ),
        "broadcast": Video(
            pattern,
            frame_times(4, 25),
            rate=Fraction(25),
            time_base=Fraction(1, 25),
            codec="mpeg2video",
            options=BROADCAST,
        ),
        "open": Video(
            pattern, frame_times(4), codec="libx265", options=(("x265-params", "log-level=none:keyint=25"),)
        ),
        "web": Video(
            pattern, frame_times(4), codec="libvpx-vp9", options=(("deadline", "realtime"), ("g", "40"))
        ),
    }
    suffixes = {"transport": "ts", "old": "avi", "broadcast": "ts", "web": "webm"}
    return {
        key: probe(str(write_video(folder / f"{key}.{suffixes.get(key, 'mp4')}", video)))
        for key, video in videos.items()
    }


def frames(render: Render, ticks: range) -> Iterator[Frame]:
    """Yield for each frame its time, its duration, its time in the source and a digest of the picture."""
    with closing(render.open_pictures(ticks)) as pictures:
        for picture in pictures:
            content = picture.frame.to_ndarray().tobytes()
            yield picture.pts, picture.duration, picture.time, hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("key", ["steady", "fast", "uneven", "transport", "old", "broadcast", "open", "web"])
@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("framing", {"keyframes": STILL}),
        ("framing", {"keyframes": STILL, "fps": 29.97, "trim": {"start": 0.33, "end": 3.77}}),
        ("framing", {"keyframes": STILL, "segments": SPEEDS}),
        ("overlay", {"highlight_regions": [REGION]}),
        ("annotate", {"clips": CLIPS}),
        ("annotate", {"clips": CLIPS, "transition": {"type": "fade", "duration": 0.6}}),
        ("annotate", {"clips": CLIPS, "transition": {"type": "dissolve", "duration": 0.8}}),
    ],
    ids=["framing", "trimmed", "speeds", "overlay", "cuts", "fades", "dissolves"],
)
def test_stretches_together_are_the_whole(
    sources: Mapping[str, Source], key: str, kind: str, config: dict[str, Any]
) -> None:
    parsed = parse_config(kind, {"input_key": key} | config)
    render = plan_export(find_export_type(kind), parsed, sources)
    assert isinstance(render, Render)
    whole = list(frames(render, render.ticks))
    assert len(whole) > 60
    length = len(render.ticks)
    for share in (0.17, 0.291, 0.402, 0.5, 0.755, 0.98):
        cut = round(share * length)
        before, after = list(frames(render, range(cut))), list(frames(render, range(cut, length)))
        assert before + after == whole
