"""When each decoded frame is shown: by best effort where a container tells it late, wrongly or not at all."""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_NO_TIMESTAMPS = 0x0080  # AVFMT_NOTIMESTAMPS
REORDER_DEPTH = 16
"""How many frames a decoder holds back at most to put them in order (H.264 and HEVC)."""


@dataclass(frozen=True)
class Timing:
    """What the times of a source's pictures are worth.

    `in_decoding_order`: they count packets as they are stored, and tell nothing of the order in which frames are shown.
    `at_decoding`: only the times of decoding are the container's own. `counted`: there are none, frames are counted.
    """

    pts_in_decoding_order: bool = False
    has_only_dts: bool = False
    untimed: bool = False

    @property
    def uncertain_frames(self) -> int:
        """How many frames after a seek may have another time than in the whole film."""
        return REORDER_DEPTH if self.pts_in_decoding_order else 0


def examine_times(
    container: InputContainer, stream: VideoStream, packets: "Sequence[Packet[VideoStream]]"
) -> Timing:
    """Look at the first packets of a stream, and return what its times are worth."""
    if container.format.flags & _NO_TIMESTAMPS:
        return Timing(untimed=True)
    if not stream.codec_context.has_b_frames:
        return Timing()
    if container.format.name == "avi":
        return Timing(pts_in_decoding_order=True, has_only_dts=True)
    times = [packet.pts for packet in packets if packet.pts is not None]
    as_stored = (
        len(times) > 1
        and len(times) >= len(packets) - 1
        and all(before <= after for before, after in pairwise(times))
    )
    return Timing(pts_in_decoding_order=as_stored)


def time_packets(packets: "Iterator[Packet[VideoStream]]", timing: Timing) -> "Iterator[Packet[VideoStream]]":
    """Give packets the times that their container has, where FFmpeg guesses others."""
    for packet in packets:
        if timing.has_only_dts:
            packet.pts = packet.dts
        yield packet


def restore_times(
    frames: Iterator[VideoFrame], timing: Timing, *, start: int | None, usual_step: int
) -> Iterator[VideoFrame]:
    """Give every frame a time later than the one before it; none is dropped.

    `start` and `usual_step` are in ticks of the stream: the time of a first frame that has none, and how long frames
    last that do not say so. Without a `start` there are no frames if the first has no time.
    """
    previous, step = None, usual_step
    for frame in _in_shown_order(frames, timing):
        time = frame.pts
        if previous is None:
            time = start if time is None else time
        elif time is None:
            time = previous + step
        elif time <= previous:
            time = previous + max(1, step // 2)
        if time is None:
            return
        frame.pts = previous = time
        step = frame.duration or usual_step
        yield frame


def _in_shown_order(frames: Iterator[VideoFrame], timing: Timing) -> Iterator[VideoFrame]:
    if timing.untimed:
        return _without_times(frames)
    return _sort_times(frames) if timing.pts_in_decoding_order else frames


def _without_times(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    for frame in frames:
        frame.pts = None
        yield frame


def _sort_times(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Frames come in the order in which they are shown; deal out the times that they have in rising order."""
    waiting: deque[VideoFrame] = deque()
    times: list[int] = []
    latest = 0
    for frame in frames:
        latest = latest if frame.pts is None else frame.pts
        waiting.append(frame)
        heapq.heappush(times, latest)
        if len(waiting) > REORDER_DEPTH:
            yield _retimed(waiting.popleft(), heapq.heappop(times))
    while waiting:
        yield _retimed(waiting.popleft(), heapq.heappop(times))


def _retimed(frame: VideoFrame, time: int) -> VideoFrame:
    frame.pts = time
    return frame
