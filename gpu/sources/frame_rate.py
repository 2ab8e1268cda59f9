"""Detect a source's frame rate, and whether it varies."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from statistics import median, median_low

from av.packet import Packet
from av.video.stream import VideoStream

from gpu.media.timestamps import Timing

MAX_RATE = Fraction(240)
DEFAULT_RATE = Fraction(30)
# Headers that say 29.97 and 30 mean the same rate.
_RATE_TOLERANCE = Fraction(1, 500)
_MAX_INDEX_ENTRIES, _MAX_PACKETS = 20_000, 150
# How far a step from frame to frame may be from the median: the clocks of some containers count in milliseconds.
_STEP_TOLERANCE, _STEP_TOLERANCE_SECONDS = 0.1, 0.0021


def detect_frame_rate(stream: VideoStream, packets: "Iterable[Packet[VideoStream]]") -> tuple[Fraction, bool]:
    """Return frames per second, and whether the rate varies; then the rate is the average.

    Headers may give one rate for a recording of variable rate, so the timestamps are checked: those of the index if it
    is complete, else those of the first of the stream's `packets`.
    """
    average, base_rate = stream.average_rate or Fraction(0), stream.base_rate or Fraction(0)
    if not 0 < average <= MAX_RATE:
        average = base_rate if 0 < base_rate <= MAX_RATE else DEFAULT_RATE
    if abs(average - base_rate) > average * _RATE_TOLERANCE:
        return average, True
    is_variable = _is_variable(
        list(_index_timestamps(stream)) or list(_scan_timestamps(packets)), stream.time_base or Fraction(1)
    )
    return (average, True) if is_variable else (base_rate, False)


def rate_from_durations(
    stream: VideoStream, first_packets: "Sequence[Packet[VideoStream]]", timing: Timing
) -> Fraction | None:
    """Return frames per second by the packets' durations, if most have a duration but no time."""
    durations = [
        packet.duration
        for packet in first_packets
        if packet.duration and (timing.untimed or packet.pts is None)
    ]
    if stream.time_base is None or len(durations) <= len(first_packets) // 2:
        return None
    rate = 1 / (median_low(durations) * stream.time_base)
    return rate if rate <= MAX_RATE else None


def _index_timestamps(stream: VideoStream) -> Iterator[int]:
    entries = stream.index_entries
    if stream.frames and len(entries) >= stream.frames:
        yield from (entry.timestamp for entry in itertools.islice(entries, _MAX_INDEX_ENTRIES))


def _scan_timestamps(packets: "Iterable[Packet[VideoStream]]") -> Iterator[int]:
    yield from (packet.pts for packet in itertools.islice(packets, _MAX_PACKETS) if packet.pts is not None)


def _is_variable(times: list[int], time_base: Fraction) -> bool:
    """Return whether the steps between times vary.

    The last few times are ignored: reordering leaves gaps before them.
    """
    ordered = sorted(times)[:-8] or [0]
    steps = [float((after - before) * time_base) for before, after in itertools.pairwise(ordered)]
    if not steps:
        return False
    typical_step = median(steps)
    return any(
        abs(step - typical_step) > typical_step * _STEP_TOLERANCE + _STEP_TOLERANCE_SECONDS for step in steps
    )
