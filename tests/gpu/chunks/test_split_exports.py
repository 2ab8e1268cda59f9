"""An export in chunks equals an export in one piece, in frames and sound, and leaves no chunks behind."""

import itertools
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callbacks.envelope import Phase
from gpu.chunks import plan
from gpu.chunks.concat import concat
from gpu.chunks.scheduler import ProgressSample, estimate_eta
from gpu.config import Codec, Quality
from gpu.errors import ExportError
from gpu.media import encoders
from gpu.media.encode import Render
from gpu.media.timeline import Clock
from gpu.pipeline import run
from tests.gpu.chunks import chunk_comparison
from tests.gpu.chunks.chunk_comparison import (
    ENDLESS,
    STILL,
    UNEVEN,
    DecodedVideo,
    beat,
    export_split,
    harsh,
    pattern,
)
from tests.gpu.export_types.clip_sources import chapters
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.support.videos import SOUND_RATE, Video, click_times, frame_times, read_samples, write_video

pytestmark = pytest.mark.skipif(encoders.count_cores() < 2, reason="chunks need several cores")

PAN = [
    {"time": 0, "x": 0, "y": 0, "width": 96, "height": 64},
    {"time": 7, "x": 60, "y": 30, "width": 96, "height": 64},
]
SPEEDS = [{"start": 0.5, "end": 3.5, "speed": 2}, {"start": 3.5, "end": 5.0, "speed": 0.5}]
REGION = {
    "start_time": 1.0,
    "end_time": 6.0,
    "keyframes": [
        {"time": 1, "x": 20, "y": 20, "radiusX": 15, "radiusY": 15},
        {"time": 6, "x": 120, "y": 60, "radiusX": 15, "radiusY": 25},
    ],
}
# With a dissolve of a second, one of them crosses each cut between three chunks.
CLIPS = [
    {"start_time": 0.0, "end_time": 2.5, "name": "one"},
    {"start_time": 3.0, "end_time": 6.0, "name": "two"},
    {"start_time": 1.0, "end_time": 3.5, "name": "three"},
]
DISSOLVE = {"clips": CLIPS, "transition": {"type": "dissolve", "duration": 1.0}}
EXPORTS: list[tuple[str, dict[str, Any], tuple[float, ...]]] = [
    ("framing", {"keyframes": PAN}, frame_times(chunk_comparison.SECONDS)),
    ("framing", {"keyframes": PAN}, UNEVEN),
    ("framing", {"keyframes": STILL, "segments": SPEEDS}, frame_times(chunk_comparison.SECONDS)),
    ("framing", {"keyframes": STILL, "fps": 23.976}, UNEVEN),
    ("framing", {"keyframes": STILL, "codec": "hevc"}, frame_times(chunk_comparison.SECONDS)),
    ("framing", {"keyframes": STILL, "codec": "av1"}, frame_times(chunk_comparison.SECONDS)),
    ("overlay", {"highlight_regions": [REGION]}, frame_times(chunk_comparison.SECONDS)),
    ("annotate", DISSOLVE, frame_times(chunk_comparison.SECONDS)),
    ("annotate", {"clips": CLIPS}, UNEVEN),
]


@pytest.mark.parametrize(
    ("kind", "config", "times"),
    EXPORTS,
    ids=["steady", "uneven", "speeds", "resampled", "hevc", "av1", "overlay", "dissolves", "uneven cuts"],
)
def test_an_export_in_pieces_is_the_whole(
    tmp_path: Path, kind: str, config: dict[str, Any], times: tuple[float, ...]
) -> None:
    source = beat(tmp_path / "source.mp4", times)
    whole, _ = export_split(source, 1, kind=kind, **config)
    joined, ticks = export_split(source, 3, kind=kind, **config)
    assert any(tick.message.startswith("Encoding in 3 chunks with ") for tick in ticks)
    expected, actual = DecodedVideo.of(whole), DecodedVideo.of(joined)
    assert (actual.times, actual.begins, actual.lengths) == (
        expected.times,
        expected.begins,
        expected.lengths,
    )
    assert actual.tag == expected.tag
    assert all(itertools.starmap(np.array_equal, zip(expected.pictures, actual.pictures, strict=True)))
    assert np.array_equal(read_samples(whole), read_samples(joined))
    assert click_times(whole) == pytest.approx(click_times(joined), abs=1 / SOUND_RATE)
    assert chapters(whole) == chapters(joined)
    content = joined.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("quality", list(Quality))
def test_of_a_harsh_picture_too_pieces_show_the_very_frames_of_the_whole(
    tmp_path: Path, codec: Codec, quality: Quality
) -> None:
    source = write_video(tmp_path / "source.mp4", Video(harsh, frame_times(5)))
    whole, joined = (
        DecodedVideo.of(export_split(source, count, keyframes=STILL, codec=codec, quality=quality)[0])
        for count in (1, 2)
    )
    assert all(itertools.starmap(np.array_equal, zip(whole.pictures, joined.pictures, strict=True)))
    assert (joined.times, joined.keyframes) == (whole.times, whole.keyframes)


@pytest.mark.parametrize(("parallelism", "encoders_used"), [(1, 1), (2, 3)])
def test_only_an_export_that_may_be_split_restarts_its_encoder(
    tmp_path: Path, parallelism: int, encoders_used: int
) -> None:
    source = write_video(tmp_path / "source.mp4", Video(pattern, frame_times(6)))
    spec = attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL, parallelism=parallelism)
    run_to_end(run(spec, tmp_path / "scratch"))
    # x264 writes its name and options into the first frame that each of its encoders returns.
    assert (tmp_path / "output.mp4").read_bytes().count(b"x264 - core") == encoders_used


def test_pieces_of_a_source_with_a_long_pause_may_be_empty(tmp_path: Path) -> None:
    source = write_video(tmp_path / "source.mp4", Video(pattern, (0.0, 0.1, 0.23, 6.8, 6.9, 6.96)))
    whole, joined = (DecodedVideo.of(export_split(source, count, keyframes=STILL)[0]) for count in (1, 3))
    assert (joined.times, joined.lengths) == (whole.times, whole.lengths)


def render(seconds: float, rate: Fraction = Fraction(30), *, steady: bool = True) -> Render:
    """Return a render without pictures, for tests of where it is cut."""
    clock = Clock(rate, steady=steady)
    return Render(16, 16, clock, seconds, lambda _: (_ for _ in ()), None)


@pytest.mark.parametrize(
    ("seconds", "count", "lengths"),
    [
        (1.9, 4, [57]),
        (3.9, 4, [117]),
        (4, 4, [60, 60]),
        (9, 4, [60, 60, 60, 90]),
        (600, 3, [6_000, 6_000, 6_000]),
        (600, 1, [18_000]),
    ],
)
def test_cuts_lie_where_keyframes_do_and_short_pieces_are_not_worth_it(
    seconds: float, count: int, lengths: list[int]
) -> None:
    chunks = plan.cut_points(render(seconds), count)
    assert [len(ticks) for ticks in chunks] == lengths
    assert [ticks.start for ticks in chunks] == list(itertools.accumulate(lengths[:-1], initial=0))


@pytest.mark.parametrize(("seconds", "restart_seconds"), [(1, 2), (7, 2), (20, 6), (30, 10), (7_200, 10)])
@pytest.mark.parametrize("steady", [True, False], ids=["steady", "uneven"])
def test_reels_are_whole_keyframe_intervals_and_ten_seconds_at_most(
    seconds: int, restart_seconds: int, steady: bool
) -> None:
    video = render(seconds, steady=steady)
    assert video.restart_ticks * video.clock.time_base == restart_seconds


@pytest.mark.parametrize(
    "rate", [Fraction(24_000, 1_001), Fraction(25), Fraction(60_000, 1_001), Fraction(240)]
)
@pytest.mark.parametrize("steady", [True, False], ids=["steady", "uneven"])
@pytest.mark.parametrize("seconds", [4.1, 5.0, 9.99, 61.0])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_cuts_leave_nothing_out(rate: Fraction, steady: bool, seconds: float, count: int) -> None:
    whole = render(round(seconds * rate) / float(rate), rate, steady=steady)
    chunks = plan.cut_points(whole, count)
    assert len(chunks) <= count
    assert (chunks[0].start, chunks[-1].stop) == (0, whole.ticks.stop)
    assert all(first.stop == other.start for first, other in itertools.pairwise(chunks))
    assert min(len(ticks) * whole.clock.time_base for ticks in chunks) > 1.9


def test_pieces_that_would_be_too_long_are_made_in_turns() -> None:
    chunks = plan.cut_points(render(600), 4, max_chunk_seconds=60)
    assert len(chunks) == 12
    assert max(len(ticks) for ticks in chunks) <= 60 * 30


def test_progress_rises_through_the_pieces_and_the_joining(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    _, ticks = export_split(source, 3, keyframes=STILL)
    with closing(run(attempt_spec(source, source, **ENDLESS), tmp_path / "scratch")) as working:
        early = list(itertools.islice((tick for tick in working if tick.eta_seconds), 5))
    for progress in ([tick.progress for tick in ticks], [tick.progress for tick in early]):
        assert progress == sorted(progress)
        assert progress[-1] < 100
    assert {tick.phase for tick in early} == {Phase.PROCESSING}


def test_the_time_that_it_takes_to_come_up_does_not_count() -> None:
    assert estimate_eta(ProgressSample(5.0, 10), ProgressSample(15.0, 60), 210) == pytest.approx(30.0)


def test_pieces_that_were_not_encoded_alike_are_not_joined(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    first, other = (
        export_split(source, count, keyframes=STILL, codec=codec)[0]
        for count, codec in ((1, "h264"), (2, "av1"))
    )
    halves = [(range(210), first), (range(210, 420), other)]
    with pytest.raises(ExportError) as caught:
        list(concat(render(14.0), halves, None, None, tmp_path / "joined.mp4"))
    assert caught.value.code == "pieces_differ"


def test_nothing_is_said_of_the_time_left_before_anything_is_done() -> None:
    assert estimate_eta(ProgressSample(0.0, 0.0), ProgressSample(3.0, 0.0), 1.0) is None


def test_threads_are_shared_out_but_for_x264_which_decides_by_their_number() -> None:
    for codec in (Codec.HEVC, Codec.AV1):
        whole = encoders.select_encoder(codec, Quality.DRAFT, 64, 64)
        assert whole.with_cores_for(10_000).threads == 1
        assert whole.with_cores_for(1).threads == encoders.count_cores()
    x264 = encoders.select_encoder(Codec.H264, Quality.DRAFT, 64, 64)
    assert x264.with_cores_for(10_000) == x264
    hevc = encoders.select_encoder(Codec.HEVC, Quality.DRAFT, 64, 64).with_cores_for(10_000)
    assert hevc.options.get("x265-params", "pools=1") in {"log-level=none:pools=1", "pools=1"}
