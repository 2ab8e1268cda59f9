"""How much is done and how long the rest takes: by frames written, not by frames that an encoder has only taken in."""

import itertools
from contextlib import closing
from pathlib import Path

import pytest

from gpu import profile
from gpu.crew import Mark, seconds_left
from gpu.formats import planned
from gpu.render import Render, write
from gpu.source import probe
from gpu.spec import Codec, Quality
from tests.gpu.exports import STILL, attempt
from tests.gpu.videos import Video, clicks, dot, make, steady

SECONDS, FRAMES = 8, 240
# What drawing a frame takes on the test's clock, and what encoding it does.
DRAWING, ENCODING = 1.0, 3.0


def shares(folder: Path, quality: Quality, *, sound: bool = False) -> list[float]:
    """What is told on the way of an export."""
    tone = clicks(SECONDS, 1.0) if sound else None
    video = Video(lambda time: dot(60 + 40 * time, 90), steady(SECONDS), tone=tone)
    spec = attempt(make(folder / "source.mp4", video), folder / "output.mp4", keyframes=STILL)
    film = planned(spec.type, spec.config, {"source": probe(str(folder / "source.mp4"))})
    assert isinstance(film, Render)
    encoder = profile.choose(Codec.H264, quality, film.width, film.height)
    with closing(write(film, encoder, folder / "output.mp4")) as writing:
        return list(writing)


@pytest.mark.parametrize("quality", list(Quality))
def test_after_a_third_the_time_left_is_right(tmp_path: Path, quality: Quality) -> None:
    told = shares(tmp_path, quality)
    clock = [
        DRAWING * min(number, FRAMES) + ENCODING * FRAMES * share for number, share in enumerate(told, 1)
    ]
    marks = [Mark(at, share) for at, share in zip(clock, told, strict=True)]
    begun = next(mark for mark in marks if mark.done)
    for part in (1 / 3, 1 / 2, 2 / 3):
        latest = next(mark for mark in marks if mark.at >= clock[-1] * part)
        assert seconds_left(begun, latest, 1.0) == pytest.approx(clock[-1] - latest.at, rel=0.25)


@pytest.mark.parametrize("sound", [False, True], ids=["silent", "with sound"])
def test_what_an_encoder_holds_back_is_not_done_yet(tmp_path: Path, sound: bool) -> None:
    told = shares(tmp_path, Quality.HIGH, sound=sound)
    assert told == sorted(told)
    assert told[:20] == [0.0] * 20  # it looks ahead before it gives anything back
    assert told[-1] == 1.0
    # What a reel's encoder has left comes at once: never more than the reel, which is two seconds here.
    assert max(after - before for before, after in itertools.pairwise(told)) < 2 / SECONDS
