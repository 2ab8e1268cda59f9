"""Limits of the length of an export and of its memory."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from av.video.frame import VideoFrame

from gpu.config import Codec, Quality
from gpu.errors import ExportError
from gpu.media import encoders
from gpu.media.audio import create_silence
from gpu.media.decode import Picture
from gpu.media.encode import Render, write_mp4
from gpu.media.timeline import Clock, SpeedSpan, compute_output_seconds, select_clock, split_by_speed
from tests.bench.measure.process_cost import measure_process
from tests.bench.video.memory import repeat_film
from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.support.videos import Video, clicks, dot, frame_times, write_video


@pytest.mark.parametrize(
    "rate", [Fraction(1, 10), Fraction(15_360, 2**31 - 1)], ids=["slides", "a day a frame"]
)
def test_a_slow_source_lasts_no_longer_than_it_does(rate: Fraction) -> None:
    cut = (SpeedSpan(0, 4),)
    assert compute_output_seconds(cut, select_clock(None, rate, variable=False, spans=cut)) == 4


@pytest.mark.parametrize(("end", "code"), [(1e-6, "output_too_short"), (90_000, "output_too_long")])
def test_an_export_lasts_a_millisecond_to_a_day(end: float, code: str) -> None:
    with pytest.raises(ExportError) as caught:
        split_by_speed(0, end, [])
    assert caught.value.code == code


def test_a_frame_that_lasts_an_hour_holds_nothing_up(tmp_path: Path) -> None:
    seconds = 3_600

    def still() -> Iterator[Picture]:
        yield Picture(VideoFrame(64, 64, "yuv420p"), 0.0, duration=seconds)

    render = Render(
        width=64,
        height=64,
        clock=Clock(Fraction(1), steady=True),
        seconds=seconds,
        open_pictures=lambda _: (picture for picture in still()),
        audio=(create_silence(48_000) for _ in range(seconds)),
    )
    encoder = encoders.select_encoder(Codec.H264, Quality.DRAFT, 64, 64)
    with closing(write_mp4(render, encoder, tmp_path / "output.mp4")) as writing:
        shares = list(islice(writing, 20))
    assert shares == pytest.approx([number / seconds for number in range(20)])


def peak_megabytes(source: Path) -> float:
    """Return the peak memory of a process that exports this video."""
    spec = attempt_spec(source, source.with_suffix(".out"), keyframes=STILL)
    return measure_process(
        (sys.executable, "-m", "gpu", "-"), spec.model_dump_json(by_alias=True)
    ).peak_megabytes


_FREE_BLOCKS = """
import gpu.memory
{prepare}
bytearray(2 << 20)  # freed at once: from here on glibc takes such blocks from the heap
kept = []
for _ in range(50):
    large = [bytearray(b"x") * (2 << 20), bytearray(b"x") * 10_000]
    kept.append(large.pop())
    kept.append(large.pop())
del kept[1::2]
print(gpu.memory.resident_memory_bytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_memory_of_a_freed_frame_goes_back_to_the_system() -> None:
    heap, mapped = (
        int(subprocess.check_output([sys.executable, "-c", _FREE_BLOCKS.format(prepare=prepare)]))
        for prepare in ("", "gpu.memory.map_large_blocks()")
    )
    assert heap - mapped > 80 * 2**20


def test_memory_does_not_grow_with_the_length_of_the_source(tmp_path: Path) -> None:
    video = Video(draw=lambda time: dot(60 + 40 * time, 90), times=frame_times(2), tone=clicks(2, 1.0))
    short = write_video(tmp_path / "short.mp4", video)
    long = repeat_film(short, 20)
    assert peak_megabytes(long) - peak_megabytes(short) < 30


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems have no such pages")
def test_an_export_takes_no_huge_pages() -> None:
    """Its frames would be rounded up to them."""
    code = "from gpu.memory import refuse_huge_pages as r; r(); print(open('/proc/self/status').read())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "THP_enabled:\t0" in said
