"""Compare exports in one piece with exports in chunks; find the processes that encode chunks."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import close, pidfd_open
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from gpu.chunks.process_worker import ProcessWorkerPool
from gpu.pipeline import run
from gpu.progress import Progress
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.support.videos import Luma, Video, clicks, frame_times, write_video

WIDTH, HEIGHT = 160, 96
SECONDS = 7.0
CLICKS = (0.5, 1.98, 2.02, 3.3, 4.4, 5.9)
UNEVEN = tuple(
    time + 0.012 * (number % 3) for number, time in enumerate(frame_times(SECONDS)) if number % 7 != 5
)
STILL = [{"time": 0, "x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}]
ENDLESS: dict[str, Any] = {
    "keyframes": STILL, "output_width": 4096, "output_height": 2304, "quality": "draft", "fps": 240, "parallelism": 3,
}  # fmt: skip


def pattern(time: float) -> Luma:
    """Draw a soft picture that is different at every time."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = 120 + 80 * np.sin(across / 20 + 3 * time) * np.cos(down / 25 - 2 * time)
    return cast(Luma, waves.astype(np.uint8))


def harsh(time: float) -> Luma:
    """Draw moving hard edges and noise, which an encoder changes in a different way each time."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    grain = np.random.default_rng(round(time * 1_000)).normal(0, 25, (HEIGHT, WIDTH))
    edges = 60 * np.sign(np.sin(across / 3 + time * 20)) * np.sign(np.sin(down / 4 - time * 15))
    return cast(Luma, np.clip(128 + edges + grain, 0, 255).astype(np.uint8))


def beat(path: Path, times: tuple[float, ...] = frame_times(SECONDS)) -> Path:
    """Write seven seconds of video, different in every frame, with clicks as audio."""
    return write_video(path, Video(pattern, times, tone=clicks(SECONDS, *CLICKS)))


class SingleWorkerPool(ProcessWorkerPool):
    """A pool with one worker: an export that may be split is encoded in one pass."""

    def worker_count(self, wanted: int) -> int:  # noqa: ARG002 - there is only one
        return 1


def export_split(source: Path, chunks: int, **config: Any) -> tuple[Path, list[Progress]]:
    """Export what may be split in so many chunks; return the path and the progress."""
    output = source.with_name(f"output-{chunks}.mp4")
    fields: dict[str, Any] = {"quality": "high", "parallelism": max(2, chunks)} | config
    spec = attempt_spec(source, output, **fields)
    pool = SingleWorkerPool() if chunks == 1 else ProcessWorkerPool()
    ticks, _ = run_to_end(run(spec, source.with_name("scratch"), pool=pool))
    return output, ticks


@dataclass(frozen=True)
class DecodedVideo:
    """A decoded file: frames, times, keyframes, start times and durations."""

    pictures: list[NDArray[np.uint8]]
    times: list[int | None]
    keyframes: list[int | None]
    lengths: list[int | None]
    begins: list[int | None]
    tag: str

    @classmethod
    def of(cls, path: Path) -> "DecodedVideo":
        with av.open(str(path)) as container:
            tag = container.streams.video[0].codec_context.codec_tag
            begins = [container.start_time, *(stream.start_time for stream in container.streams)]
            lengths = [container.duration, *(stream.duration for stream in container.streams)]
            packets = list(container.demux(video=0))
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        return cls(
            pictures=[cast(NDArray[np.uint8], frame.to_ndarray()) for frame in frames],
            times=[frame.pts for frame in frames],
            keyframes=[packet.pts for packet in packets if packet.is_keyframe],
            lengths=lengths,
            begins=begins,
            tag=tag,
        )


def chunk_processes(pid: int | str = "self") -> list[int]:
    """List the chunk processes among the children of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    started = [int(child) for listed in lists for child in listed.read_text().split()]
    return [child for child in started if b"gpu.chunks" in Path(f"/proc/{child}/cmdline").read_bytes()]


@contextmanager
def open_handles(pids: list[int]) -> Iterator[list[int]]:
    """Open handles of processes, which stay valid after the processes have ended."""
    handles = [pidfd_open(pid) for pid in pids]
    try:
        yield handles
    finally:
        for handle in handles:
            close(handle)


def have_ended(handles: list[int], within_seconds: float = 10.0) -> bool:
    """Wait for the processes; return whether all have ended in time."""
    return all(select.select([handle], [], [], within_seconds)[0] for handle in handles)
