"""Find the presentation time of each decoded frame.

Containers may give it late, wrongly or not at all; then it is estimated.
"""

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
"""How many frames a decoder delays at most to reorder them (H.264 and HEVC)."""


@dataclass(frozen=True)
class Timing:
    """How reliable the timestamps of a source's video are.

    `pts_in_decoding_order`: they number the packets in stored order, and say nothing about the order of presentation.
    `has_only_dts`: only decoding times come from the container. `untimed`: there are none, frames are counted.
    """

    pts_in_decoding_order: bool = False
    has_only_dts: bool = False
    untimed: bool = False

    @property
    def uncertain_frames(self) -> int:
        """How many frames after a seek may have another time than without the seek."""
        return REORDER_DEPTH if self.pts_in_decoding_order else 0


def examine_times(
    container: InputContainer, stream: VideoStream, packets: "Sequence[Packet[VideoStream]]"
) -> Timing:
    """Return how reliable a stream's timestamps are, by its first packets."""
    if container.format.flags & _NO_TIMESTAMPS:
        return Timing(untimed=True)
    if not stream.codec_context.has_b_frames:
        return Timing()
    if container.format.name == "avi":
        return Timing(pts_in_decoding_order=True, has_only_dts=True)
    times = [packet.pts for packet in packets if packet.pts is not None]
    in_stored_order = (
        len(times) > 1
        and len(times) >= len(packets) - 1
        and all(before <= after for before, after in pairwise(times))
    )
    return Timing(pts_in_decoding_order=in_stored_order)


def time_packets(packets: "Iterator[Packet[VideoStream]]", timing: Timing) -> "Iterator[Packet[VideoStream]]":
    """Yield packets with the times of their container where FFmpeg guesses others."""
    for packet in packets:
        if timing.has_only_dts:
            packet.pts = packet.dts
        yield packet


def restore_times(
    frames: Iterator[VideoFrame], timing: Timing, *, start: int | None, default_step: int
) -> Iterator[VideoFrame]:
    """Yield every frame with a time later than the one before; none is dropped.

    In ticks of the stream, `start` is the time of a first frame that has none, and `default_step` the duration of
    frames that have none. Without a `start` there are no frames if the first has no time.
    """
    previous, step = None, default_step
    for frame in _order_times(frames, timing):
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
        step = frame.duration or default_step
        yield frame


def _order_times(frames: Iterator[VideoFrame], timing: Timing) -> Iterator[VideoFrame]:
    if timing.untimed:
        return _drop_times(frames)
    return _sort_times(frames) if timing.pts_in_decoding_order else frames


def _drop_times(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    for frame in frames:
        frame.pts = None
        yield frame


def _sort_times(frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    """Assign the frames' times in rising order: frames come in order of presentation."""
    pending: deque[VideoFrame] = deque()
    times: list[int] = []
    latest = 0
    for frame in frames:
        latest = latest if frame.pts is None else frame.pts
        pending.append(frame)
        heapq.heappush(times, latest)
        if len(pending) > REORDER_DEPTH:
            yield _set_time(pending.popleft(), heapq.heappop(times))
    while pending:
        yield _set_time(pending.popleft(), heapq.heappop(times))


def _set_time(frame: VideoFrame, time: int) -> VideoFrame:
    frame.pts = time
    return frame
