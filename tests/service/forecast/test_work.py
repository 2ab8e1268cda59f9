"""An export as work: the pixels that it reads and writes, from its config and the facts of its sources."""

from typing import Any

import pytest

from gpu.export_types.registry import parse_config
from service.forecast.work import COPY, SourceFacts, Work, describe_work, name_runner

FACTS = SourceFacts(duration=10.0, width=1000, height=500, fps=30.0, codec="h264")
FRAME = 0.5  # megapixels of a frame of FACTS
CROP = {"time": 0, "x": 0, "y": 0, "width": 200, "height": 100}


def describe(kind: str, **config: Any) -> Work | None:
    parsed = parse_config(kind, {"input_key": "film", **config})
    return describe_work(kind, parsed, {"film": FACTS}, runner="local")


def test_a_framing_reads_its_trim_and_writes_the_crop_at_its_speed() -> None:
    segments = [{"start": 4, "end": 6, "speed": 0.5}]
    work = describe("framing", keyframes=[CROP], trim={"start": 2, "end": 6}, segments=segments, fps=60)
    assert work is not None
    assert work.source_megapixels == pytest.approx(4 * 30 * FRAME)
    assert work.output_megapixels == pytest.approx((2 + 4) * 60 * 0.02)
    assert (work.codec, work.quality, work.source_codec) == ("h264", "standard", "h264")


def test_clips_of_several_sources_are_added_and_have_the_size_of_the_first() -> None:
    small = SourceFacts(duration=5.0, width=100, height=100, fps=10.0, codec="vp9")
    clips = [{"start_time": 1, "end_time": 3, "name": "a"}]
    clips.append({"start_time": 0, "end_time": 5, "name": "b", "input_key": "small"})
    config = parse_config("annotate", {"input_key": "film", "clips": clips})
    work = describe_work("annotate", config, {"film": FACTS, "small": small}, runner="local")
    assert work is not None
    assert work.source_megapixels == pytest.approx(2 * 30 * FRAME + 5 * 10 * 0.01)
    assert work.output_megapixels == pytest.approx(7 * 30 * FRAME)
    assert describe_work("annotate", config, {"film": FACTS}, runner="local") is None


def test_an_overlay_that_draws_nothing_may_be_a_copy() -> None:
    plain, other = describe("overlay"), describe("overlay", codec="hevc")
    assert plain is not None
    assert other is not None
    assert (plain.codec, plain.quality) == (COPY, COPY)
    assert (other.codec, other.quality) == ("hevc", "standard")


def test_a_clip_outside_of_its_source_is_no_work() -> None:
    assert describe("framing", keyframes=[CROP], trim={"start": 20, "end": 30}) is None


def test_the_facts_are_those_of_the_chosen_track() -> None:
    tracks = [{"codec": "mjpeg", "chosen": False}, {"codec": "hevc", "chosen": True}]
    description = {"duration": 2.0, "width": 4, "height": 2, "fps": 25.0, "picture_tracks": tracks}
    assert SourceFacts.of(description) == SourceFacts(2.0, 4, 2, 25.0, "hevc")
    assert SourceFacts.of({**description, "picture_tracks": []}) is None
    assert SourceFacts.of({"width": 4, "height": 2}) is None


def test_a_runner_with_a_gpu_is_learned_by_it() -> None:
    assert (name_runner("modal", "L4"), name_runner("local", None)) == ("modal/L4", "local")
