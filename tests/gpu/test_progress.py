"""Progress of an encode: it rises, it never counts a frame that is not in the file yet, and its steps are bounded.

When an encoder returns its last frames depends on its threads, so these tests state bounds that hold for any timing.
How close the estimated time left comes in practice is measured by `make bench ARGS=eta`.
"""

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gpu.chunks.scheduler import ProgressSample, estimate_eta
from gpu.config import Codec, Quality
from gpu.export_types.planning import plan_export
from gpu.export_types.registry import find_export_type
from gpu.media import encoders
from gpu.media.encode import Render, write_mp4
from gpu.sources.source import probe
from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.support.videos import Video, clicks, dot, frame_times, write_video

SECONDS, FRAMES = 8, 240
SEGMENT_FRAMES = 60  # frames between restarts of the encoder

# One fragment per frame, written through: the file itself shows how many frames it holds.
FRAGMENT_PER_FRAME = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}


def encode(
    folder: Path, quality: Quality, *, sound: bool = False, restarts: bool = False
) -> Iterator[tuple[float, int]]:
    """Encode eight seconds of video; yield each reported fraction with the number of frames in the file."""
    tone = clicks(SECONDS, 1.0) if sound else None
    video = Video(lambda time: dot(60 + 40 * time, 90), frame_times(SECONDS), tone=tone)
    spec = attempt_spec(write_video(folder / "source.mp4", video), folder / "output.mp4", keyframes=STILL)
    render = plan_export(
        find_export_type(spec.type), spec.config, {"source": probe(str(folder / "source.mp4"))}
    )
    assert isinstance(render, Render)
    assert render.restart_ticks == SEGMENT_FRAMES * (render.ticks.stop // FRAMES)
    encoder = encoders.select_encoder(Codec.H264, quality, render.width, render.height)
    output = folder / "output.mp4"
    restart_ticks = render.restart_ticks if restarts else None
    with closing(write_mp4(render, encoder, output, FRAGMENT_PER_FRAME, restart_ticks)) as shares:
        for share in shares:
            yield share, output.read_bytes().count(b"moof") if output.exists() else 0


@pytest.mark.parametrize("restarts", [False, True], ids=["one pass", "may be split"])
@pytest.mark.parametrize("quality", list(Quality))
def test_a_frame_counts_only_once_it_is_in_the_file(tmp_path: Path, quality: Quality, restarts: bool) -> None:
    for share, written in encode(tmp_path, quality, restarts=restarts):
        # The muxer writes a fragment when the next one begins, so it is one frame behind.
        assert round(share * FRAMES) <= written + 1


@pytest.mark.parametrize("restarts", [False, True], ids=["one pass", "may be split"])
@pytest.mark.parametrize("sound", [False, True], ids=["silent", "with sound"])
@pytest.mark.parametrize("quality", list(Quality))
def test_progress_rises_to_the_end_in_bounded_steps(
    tmp_path: Path, quality: Quality, sound: bool, restarts: bool
) -> None:
    shares = [share for share, _ in encode(tmp_path, quality, sound=sound, restarts=restarts)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    # At most the rest of one encoder segment and what is ready of the next are written together.
    most = 2 * SEGMENT_FRAMES / FRAMES
    assert max(after - before for before, after in itertools.pairwise([0.0, *shares])) <= most


def test_frames_that_the_encoder_only_looks_ahead_at_are_not_done(tmp_path: Path) -> None:
    shares = [share for share, _ in encode(tmp_path, Quality.HIGH)]
    assert shares[:20] == [0.0] * 20


@pytest.mark.parametrize("begun", [0.0, 0.2], ids=["from the start", "after the encoder has filled up"])
@pytest.mark.parametrize("done", [1 / 3, 1 / 2, 2 / 3, 0.99])
def test_the_time_left_is_right_at_a_steady_pace(begun: float, done: float) -> None:
    pace = 80.0  # seconds for the whole
    first, latest = ProgressSample(7.0, begun), ProgressSample(7.0 + pace * (done - begun), done)
    assert estimate_eta(first, latest, 1.0) == pytest.approx(pace * (1 - done))
